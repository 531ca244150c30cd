'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, Page, plain, settle } = require('./browser.js');

const PROOF = '0123456789abcdef';
const META = '_fbp=fb.1.1500000000000.99';
const ALL = ['consent_cookie.js', 'first_party_cookies.js', 'metapixel.js'];

// The server: takes the choice and sets the cookie.
const take = ({ choice }, request, page) => {
  page.jar.text = `metapixel_consent=${choice === 'granted' ? `granted.${PROOF}` : 'denied'}; Path=/`;
};
const open = (options = {}) => new Page({
  scripts: ALL, answers: { [CONFIG.consent]: take }, ...options, config: { provider: 'cookie', ...options.config },
});
const button = (page, what) => page.add('button', { 'data-metapixel-consent': what });
const state = (page) => page.root.getAttribute('data-metapixel-consent');
const choices = (page) => page.postsTo(CONFIG.consent).map((body) => body.choice);

for (const [cookies, expected] of [
  ['', 'unknown'],
  [`metapixel_consent=granted.${PROOF}`, 'granted'],
  ['a=b; metapixel_consent=denied; c=d', 'denied'],
  ['metapixel_consent=grantedish', 'unknown'],
  ['metapixel_consent=', 'unknown'],
  ['not_metapixel_consent=granted.1', 'unknown'],
]) {
  test(`"${cookies}" is ${expected}`, async () => {
    const page = open({ cookies });
    assert.deepEqual([page.window.metapixel.consent.read(), state(page)], [expected, expected]);
    await settle();
    assert.equal(page.scripts.length, expected === 'granted' ? 1 : 0);
  });
}

for (const [cookies, said] of [
  ['metapixel_off=', 1],
  ['a=b; metapixel_off', 1],
  ['', 0],
  ['metapixel_offer=1', 0],
]) {
  test(`with "${cookies}" the console ${said ? 'tells staff why nothing happens' : 'is silent'}`, () => {
    const page = open({ cookies });
    assert.equal(page.infos.filter((text) => /private window/.test(text)).length, said);
  });
}

test('elements that ask for the state are given it', async () => {
  const page = new Page({ scripts: [] });
  const element = page.add('p', { 'data-metapixel-consent-state': '' });
  page.run('consent_cookie.js');
  assert.equal(element.getAttribute('data-metapixel-consent-state'), 'unknown');
  await page.click(button(page, 'grant'));
  assert.equal(element.getAttribute('data-metapixel-consent-state'), 'granted');
});

test('grant: the server is told, then the page goes', async () => {
  const page = open();
  const event = await page.click(button(page, 'grant'));
  assert.deepEqual([choices(page), state(page), page.firedNames], [['granted'], 'granted', ['PageView']]);
  assert.equal(event.prevented, true);
});

// Chromium goes on with what has "keepalive", though it was called back, and keeps the cookie of its answer.
for (const [what, keepalive] of [['grant', false], ['deny', true], ['withdraw', true]]) {
  test(`${what} stays on this origin, and ${keepalive ? 'outlives the page' : 'can be called back'}`, async () => {
    const page = open();
    await page.click(button(page, what));
    const { signal, ...request } = page.posts[0].request;
    assert.deepEqual(plain(request), { method: 'POST', mode: 'same-origin', keepalive });
  });
}

test('deny: the server is told and nothing happens', async () => {
  const page = open();
  await page.click(button(page, 'deny'));
  await page.leave();
  assert.deepEqual([choices(page), state(page), page.scripts, page.beacons], [['denied'], 'denied', [], []]);
});

test('withdraw: events stop, the server is told, the cookies go', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
  let silent;
  const server = page.answers[CONFIG.consent];
  page.answers[CONFIG.consent] = (body) => {
    silent = page.calls.some((call) => call[1] === 'revoke');
    server(body, {}, page);
  };
  await page.click(button(page, 'withdraw'));
  assert.deepEqual([silent, choices(page), state(page)], [true, ['withdrawn'], 'denied']);
  assert.equal(page.jar.get('_fbp'), null);
});

test('deny after a grant is a withdrawal', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}` });
  await page.click(button(page, 'deny'));
  assert.deepEqual([choices(page), state(page)], [['withdrawn'], 'denied']);
});

test('a choice the server did not take changes nothing', async () => {
  for (const answer of [{ status: 500 }, { status: 403 }, new Error('offline')]) {
    const page = open();
    page.answers[CONFIG.consent] = answer;
    await page.click(button(page, 'grant'));
    await page.click(button(page, 'deny'));
    assert.deepEqual([choices(page), state(page), page.scripts], [['granted', 'denied'], 'unknown', []]);
  }
});

test('a withdrawal the server did not take counts all the same, and can be told again', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
  const server = page.answers[CONFIG.consent];
  page.answers[CONFIG.consent] = { status: 500 };
  await page.click(button(page, 'withdraw'));
  await page.leave();
  assert.deepEqual([state(page), page.beacons, page.jar.get('_fbp') !== null], ['denied', [], true]);
  page.answers[CONFIG.consent] = server;
  await page.click(button(page, 'withdraw'));
  assert.deepEqual([state(page), page.jar.get('_fbp')], ['denied', null]);
});

test('a click inside a button counts, one beside it does not', async () => {
  const page = open();
  const inner = page.add('span');
  inner.parent = button(page, 'grant');
  const other = page.add('span');
  other.parent = page.root; // which carries the attribute as well, with the state
  assert.equal((await page.click(other)).prevented, false);
  assert.deepEqual(choices(page), []);
  await page.click(inner);
  assert.deepEqual(choices(page), ['granted']);
});

test("a click that the page's own handler stops on its way up counts", async () => {
  const page = open();
  const event = await page.click(button(page, 'grant'), { stopped: true });
  assert.deepEqual([choices(page), event.prevented], [['granted'], true]);
});

test('a button with another value does nothing', async () => {
  const page = open();
  for (const name of ['', 'toString', 'constructor', 'granted']) await page.click(button(page, name));
  await page.tell('click', { target: {} });
  assert.deepEqual(choices(page), []);
});

test('a double click is one choice', async () => {
  const page = open();
  const grant = button(page, 'grant');
  await Promise.all([page.click(grant), page.click(grant)]);
  assert.deepEqual(choices(page), ['granted']);
});

test('of two choices the last one counts, whichever answer is faster', async () => {
  const page = open();
  let release;
  const server = page.answers[CONFIG.consent];
  page.answers[CONFIG.consent] = async (body, request) => {
    if (body.choice === 'granted') await new Promise((resolve) => (release = resolve));
    if (!request.signal.aborted) server(body, request, page);
  };
  await page.click(button(page, 'grant'));
  await page.click(button(page, 'deny'));
  release();
  await settle();
  assert.deepEqual([choices(page), state(page)], [['granted', 'denied'], 'denied']);
});

test('... also by the next page, which stays silent', async () => {
  for (const failure of [{ status: 429 }, new Error('offline')]) {
    const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
    page.answers[CONFIG.consent] = failure;
    await page.click(button(page, 'withdraw'));
    const next = open({ cookies: page.jar.text });
    await settle();
    assert.deepEqual([choices(next), state(next), next.scripts], [['withdrawn'], 'denied', []]);
    assert.deepEqual([next.jar.get('metapixel_consent'), next.jar.get('_fbp')], ['denied', null]);
  }
});

test('a withdrawal is written down before the server answers, for this site and as long as the answer', async () => {
  for (const [url, secure] of [['https://www.example.com/', '; Secure'], ['http://localhost:8080/', '']]) {
    const page = open({ url, scripts: ['consent_cookie.js'], cookies: `metapixel_consent=granted.${PROOF}` });
    page.answers[CONFIG.consent] = () => new Promise(() => {});
    await page.click(button(page, 'withdraw'));
    const line = `metapixel_consent=denied.untold; Path=/; SameSite=Lax; Max-Age=15552000${secure}`;
    assert.deepEqual([page.jar.writes[0], state(page)], [line, 'denied']);
  }
});

test('where nobody is asked, an objection the server did not take counts on the next page', async () => {
  const config = { provider: 'not_required' };
  const page = open({ config });
  page.answers[CONFIG.consent] = { status: 503 };
  page.window.metapixel.deny();
  await settle();
  const next = open({ config, cookies: page.jar.text });
  assert.deepEqual([state(next), next.scripts], ['denied', []]);
});

// The server where nobody is asked: keeps objections, and forgets one that is taken back.
const asksNobody = (page) => {
  page.answers[CONFIG.consent] = ({ choice }) => {
    page.jar.text = `metapixel_consent=${choice === 'granted' ? '; Max-Age=0' : 'denied'}; Path=/`;
  };
  return page;
};

for (const take of ['click', 'call']) {
  test(`where nobody is asked, an objection is taken back by a ${take}`, async () => {
    const config = { provider: 'not_required' };
    const page = asksNobody(open({ config, cookies: 'metapixel_consent=denied' }));
    assert.deepEqual([state(page), page.scripts.length], ['denied', 0]);
    if (take === 'click') await page.click(button(page, 'grant'));
    else page.window.metapixel.grant();
    await settle();
    assert.deepEqual([choices(page), state(page), page.scripts.length], [['granted'], 'granted', 1]);
    assert.equal(page.jar.get('metapixel_consent'), null);
    const next = open({ config, cookies: page.jar.text });
    await settle();
    assert.deepEqual([state(next), next.scripts.length], ['unknown', 1]);
  });
}

test('where nobody is asked, who took an objection back may object again', async () => {
  const page = asksNobody(open({ config: { provider: 'not_required' }, cookies: 'metapixel_consent=denied' }));
  page.window.metapixel.grant();
  await settle();
  page.window.metapixel.deny();
  await settle();
  assert.deepEqual([choices(page), state(page)], [['granted', 'withdrawn'], 'denied']);
  assert.equal(page.jar.get('metapixel_consent'), 'denied');
});

test('where nobody is asked, an objection stays when the server did not hear that it is taken back', async () => {
  const page = open({ config: { provider: 'not_required' }, cookies: 'metapixel_consent=denied' });
  page.answers[CONFIG.consent] = { status: 503 };
  page.window.metapixel.grant();
  await settle();
  assert.deepEqual([state(page), page.scripts.length], ['denied', 0]);
});

test('a first no is left to the server', async () => {
  const page = open();
  page.answers[CONFIG.consent] = { status: 500 };
  await page.click(button(page, 'deny'));
  assert.deepEqual(page.jar.writes, []);
});

for (const no of ['deny', 'withdraw']) {
  test(`a yes that is answered after the click on ${no} starts nothing`, async () => {
    const page = open();
    const waiting = [];
    const server = page.answers[CONFIG.consent];
    page.answers[CONFIG.consent] = async (body, request) => {
      await new Promise((resolve) => waiting.push(resolve));
      if (!request.signal.aborted) server(body, request, page);
    };
    await page.click(button(page, 'grant'));
    await page.click(button(page, no));
    waiting[0]();
    await settle();
    await page.tell('visibilitychange');
    page.window.metapixel.scan();
    assert.deepEqual([page.scripts, page.jar.get('_fbp'), state(page) === 'granted'], [[], null, false]);
    waiting[1]();
    await settle();
    assert.deepEqual([page.scripts, state(page)], [[], 'denied']);
  });

  test(`... nor if the server does not take ${no}`, async () => {
    const page = open();
    let grant;
    page.answers[CONFIG.consent] = async ({ choice }, { signal }) => {
      if (choice !== 'granted') return { status: 429 };
      await new Promise((resolve) => (grant = resolve));
      // A browser takes no cookie from an answer that was called back.
      if (!signal.aborted) page.jar.text = `metapixel_consent=granted.${PROOF}; Path=/`;
    };
    await page.click(button(page, 'grant'));
    await page.click(button(page, no));
    grant();
    await settle();
    // A first no that nobody took leaves the question open; a withdrawal holds all the same.
    assert.deepEqual([page.scripts, state(page)], [[], no === 'deny' ? 'unknown' : 'denied']);
  });
}

test('a no calls the yes back that is on its way, and does not wait for its answer', async () => {
  const page = open();
  page.answers[CONFIG.consent] = ({ choice }) => (choice === 'granted' ? new Promise(() => {}) : { status: 204 });
  page.click(button(page, 'grant'));
  await page.click(button(page, 'withdraw'));
  assert.deepEqual(choices(page), ['granted', 'withdrawn']);
  assert.equal(page.posts[0].request.signal.aborted, true);
});

test('a no on top of a withdrawal does not call it back', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
  const server = page.answers[CONFIG.consent];
  let release;
  page.answers[CONFIG.consent] = async (body) => {
    await new Promise((resolve) => (release = resolve));
    server(body, {}, page);
  };
  for (const what of ['withdraw', 'deny']) await page.click(button(page, what));
  release();
  await settle();
  assert.deepEqual([choices(page), state(page)], [['withdrawn'], 'denied']);
  assert.equal(page.posts[0].request.signal.aborted, false);
});

test('... and is told as one where the server did not hear of it', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
  const server = page.answers[CONFIG.consent];
  page.answers[CONFIG.consent] = { status: 500 };
  await page.click(button(page, 'withdraw'));
  page.answers[CONFIG.consent] = server;
  for (const what of ['deny', 'deny']) await page.click(button(page, what));
  assert.deepEqual(choices(page), ['withdrawn', 'withdrawn', 'denied']);
});

test('yes, no, yes: the last yes counts', async () => {
  const page = open();
  for (const what of ['grant', 'deny', 'grant']) page.click(button(page, what));
  await settle();
  assert.deepEqual([choices(page), state(page), page.firedNames], [['granted', 'withdrawn', 'granted'], 'granted', ['PageView']]);
});

test('a withdrawal and then a yes before the server answers: the page goes on', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}` });
  for (const what of ['withdraw', 'grant']) page.click(button(page, what));
  await settle();
  page.window.metapixel.track('Contact');
  assert.deepEqual([state(page), page.firedNames.includes('Contact')], ['granted', true]);
});

test('an answer given in another tab is seen when this one is looked at', async () => {
  const page = open();
  page.jar.text = `metapixel_consent=granted.${PROOF}`;
  await page.tell('visibilitychange');
  assert.deepEqual([state(page), page.firedNames], ['granted', ['PageView']]);
});

test('a withdrawal in another tab silences this one without telling the server twice', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}; ${META}` });
  page.jar.text = 'metapixel_consent=denied';
  await page.tell('visibilitychange');
  await page.leave();
  assert.deepEqual([state(page), choices(page), page.beacons, page.jar.get('_fbp')], ['denied', [], [], null]);
});

test('a withdrawal on a later page holds for one that comes back from the cache', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}` });
  await page.metaLoads();
  await page.leave();
  page.jar.text = 'metapixel_consent=denied';
  await page.comeBack();
  assert.deepEqual([state(page), page.firedNames], ['denied', ['PageView']]);
});

test('where the browser keeps no cookie the answer holds for this page', async () => {
  const page = open({ scripts: [] });
  page.jar.blocked = true;
  ALL.forEach((name) => page.run(name));
  page.answers[CONFIG.consent] = { status: 204 };
  await page.click(button(page, 'grant'));
  assert.deepEqual([state(page), page.firedNames], ['granted', ['PageView']]);
});

test('the public functions lead to the same place as the buttons', async () => {
  const page = open();
  page.window.metapixel.grant();
  await settle();
  page.window.metapixel.revoke();
  await settle();
  assert.deepEqual([choices(page), state(page)], [['granted', 'withdrawn'], 'denied']);
});

test('the buttons work where the core is missing or switched off', async () => {
  for (const options of [{ scripts: ['consent_cookie.js'] }, { navigator: { globalPrivacyControl: true } }]) {
    const page = open(options);
    for (const name of ['deny', 'grant', 'withdraw']) await page.click(button(page, name));
    assert.deepEqual([choices(page), state(page), page.scripts], [['denied', 'granted', 'withdrawn'], 'denied', []]);
  }
});

test('without a config island a click does nothing', async () => {
  const page = new Page({ config: null, scripts: ['consent_cookie.js'] });
  await page.click(button(page, 'grant'));
  assert.deepEqual([page.posts, state(page)], [[], 'unknown']);
});

test('without an address for consent a click does nothing', async () => {
  const page = open({ config: { consent: '' } });
  await page.click(button(page, 'grant'));
  assert.deepEqual([page.posts, state(page)], [[], 'unknown']);
});

test('one broken watcher does not keep the others from hearing', async () => {
  const page = open({ scripts: ['consent_cookie.js'] });
  const heard = [];
  const { consent } = page.window.metapixel;
  consent.watch(() => { throw new Error('broken'); });
  consent.watch((answer) => heard.push(answer));
  await consent.choose('granted');
  assert.deepEqual(heard, ['granted']);
});

test('watchers hear of a change, and only of a change', async () => {
  const page = open({ scripts: ['consent_cookie.js'] });
  const heard = [];
  page.window.metapixel.consent.watch((answer) => heard.push(answer));
  await page.tell('visibilitychange');
  await page.tell('pageshow', {}, page.windowListeners);
  assert.deepEqual(heard, []);
  page.jar.text = 'metapixel_consent=denied';
  await page.tell('pageshow', {}, page.windowListeners);
  assert.deepEqual(heard, ['denied']);
});

test('a prerendered page looks again when it is shown', async () => {
  const page = open({ prerendering: true });
  page.jar.text = `metapixel_consent=granted.${PROOF}`;
  await page.tell('prerenderingchange');
  assert.deepEqual([state(page), page.firedNames], ['granted', ['PageView']]);
});

test('another tool on the page is left alone', () => {
  const consent = { read: () => 'denied', watch() {} };
  const page = open({ window: { metapixel: { consent } } });
  assert.deepEqual([page.window.metapixel.consent, state(page)], [consent, null]);
});

test('the file may stand on the page twice', async () => {
  const page = open({ scripts: ['consent_cookie.js', ...ALL] });
  await page.click(button(page, 'grant'));
  assert.deepEqual([choices(page), page.firedNames], [['granted'], ['PageView']]);
});

// Where the shop's hosts share their cookies.
const ON = 'example.com';
const share = (page, domain = ON) => {
  page.answers[CONFIG.consent] = ({ choice }) => {
    const value = choice === 'granted' ? `granted.${PROOF}` : 'denied';
    page.jar.text = `metapixel_consent=${value}; Path=/; Domain=${domain}`;
  };
};
const kept = (page) =>
  page.jar.cookies.filter(({ name }) => name === 'metapixel_consent').map(({ value, domain }) => [value, domain]);

test('an old no of this host does not outvote a new yes for the domain', async () => {
  const page = open({ cookies: 'metapixel_consent=denied', config: { domain: ON } });
  share(page);
  await page.click(button(page, 'grant'));
  assert.deepEqual([kept(page), state(page)], [[[`granted.${PROOF}`, ON]], 'granted']);
});

test('an old no of this host stays when the server does not take the yes', async () => {
  const page = open({ cookies: 'metapixel_consent=denied', config: { domain: ON } });
  page.answers[CONFIG.consent] = { status: 503 };
  await page.click(button(page, 'grant'));
  assert.deepEqual([kept(page), state(page)], [[['denied', null]], 'denied']);
});

test('a no after a yes stands on the domain, and no yes of this host beside it', async () => {
  for (const verb of ['deny', 'withdraw']) {
    const page = open({ cookies: `metapixel_consent=granted.${PROOF}`, config: { domain: ON } });
    page.answers[CONFIG.consent] = () => new Promise(() => {});
    await page.click(button(page, verb));
    assert.deepEqual([kept(page), state(page)], [[['denied.untold', ON]], 'denied']);
  }
});

test('where the browser refuses the domain a no stands on the host', async () => {
  const page = open({ cookies: `metapixel_consent=granted.${PROOF}`, config: { domain: 'com' } });
  share(page, 'com');
  await page.click(button(page, 'withdraw'));
  assert.deepEqual([kept(page), state(page)], [[['denied.untold', null]], 'denied']);
});

test('a no beside a yes is a no, and a withdrawal is told nevertheless', async () => {
  for (const [here, there] of [['granted.1', 'denied'], ['denied', 'granted.1']]) {
    const page = open({ scripts: [], config: { domain: ON } });
    page.jar.text = `metapixel_consent=${here}; Path=/`;
    page.jar.text = `metapixel_consent=${there}; Path=/; Domain=${ON}`;
    ALL.forEach((name) => page.run(name));
    assert.deepEqual([state(page), page.scripts.length], ['denied', 0]);
    share(page);
    await page.click(button(page, 'withdraw'));
    assert.equal(choices(page).includes('withdrawn'), true);
  }
});

// Of a time when "domain" was another, or none.
for (const [then, now, where] of [
  ['example.com', undefined, null],
  ['example.com', 'shop.example.com', 'shop.example.com'],
  ['a.shop.example.com', 'example.com', 'example.com'],
  ['example.com', 'other.org', null], // which the browser refuses
]) {
  test(`an old no on ${then} does not outvote a new yes where "domain" is ${now}`, async () => {
    const page = open({ url: 'https://a.shop.example.com/', scripts: [], config: { domain: now } });
    page.jar.text = `metapixel_consent=denied; Path=/; Domain=${then}`;
    ALL.forEach((name) => page.run(name));
    if (where) share(page, where);
    await page.click(button(page, 'grant'));
    assert.deepEqual([kept(page), state(page)], [[[`granted.${PROOF}`, where]], 'granted']);
    const { attributes } = page.jar.cookies.find(({ name }) => name === 'metapixel_consent');
    assert.equal(attributes['max-age'], '15552000'); // as long as the server's own
    assert.equal(page.firedNames.length, 1);
  });
}

test('without first_party_cookies.js an old no of this host goes, too', async () => {
  const page = open({ cookies: 'metapixel_consent=denied', config: { domain: ON }, scripts: ['consent_cookie.js'] });
  share(page);
  await page.click(button(page, 'grant'));
  assert.deepEqual([kept(page), state(page)], [[[`granted.${PROOF}`, ON]], 'granted']);
});

test('a yes that finds no old no is left as the server has set it', async () => {
  const page = open();
  await page.click(button(page, 'grant'));
  assert.deepEqual(page.jar.writes.filter((line) => line.startsWith('metapixel_consent')).length, 1);
});
