'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, base64url, settle, tool } = require('./browser.js');

const VIEW = { event_name: 'ViewContent', custom_data: {} };
const ECHO = { i: 'e1', n: 'AddToCart', p: {}, t: 1795322685, x: [PIXEL] };
const META = '_fbp=fb.1.1500000000000.99; _fbc=fb.1.1500000000000.AbC';

const asked = (state, options = {}) => {
  const consent = tool(state);
  const page = new Page({ window: { metapixel: { consent } }, ...options, config: { provider: 'other', ...options.config } });
  return Object.assign(page, { consent });
};
const meta = (page) => [page.jar.get('_fbp'), page.jar.get('_fbc')];
const nothing = (page) => {
  assert.deepEqual([page.scripts, page.posts, page.beacons, page.window.fbq], [[], [], [], undefined]);
};

test('before an answer nothing is loaded, stored or posted', async () => {
  const page = asked('unknown', { url: 'https://www.example.com/?fbclid=AbC', islands: [{ event: VIEW }] });
  await page.pass(5000);
  await page.leave();
  nothing(page);
  assert.deepEqual(page.jar.writes, []);
});

test('on a grant the events of this page go, with the click id of its address', async () => {
  const page = asked('unknown', { url: 'https://www.example.com/?fbclid=AbC', islands: [{ event: VIEW }] });
  await page.pass(60000);
  page.consent.say('granted');
  await page.metaLoads();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
  const [body] = page.postsTo(CONFIG.collect);
  assert.deepEqual([body.events.length, body.fbc.split('.')[3]], [2, 'AbC']);
});

test('an event that was swapped away before the grant is held all the same', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }] });
  page.elements.pop();
  page.consent.say('granted');
  await settle();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
});

test('a grant is acted upon in a task of its own, which a denial may come before', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }] });
  page.consent.say('granted');
  assert.equal(page.window.fbq, undefined);
  page.consent.say('denied');
  await page.pass(5000);
  assert.deepEqual([page.scripts, page.postsTo(CONFIG.collect), page.beacons, page.window.fbq], [[], [], [], undefined]);
});

const CHANGES = {
  'a withdrawal and a grant': (api) => [api.revoke, api.grant],
  'a grant, a withdrawal and a grant': (api) => [api.grant, api.revoke, api.grant],
};
for (const [what, calls] of Object.entries(CHANGES)) {
  for (const pause of [async () => {}, settle]) {
    test(`${what}${pause === settle ? ', each in its time' : ' at once'}: the script of Meta is loaded, once`, async () => {
      const page = new Page({ config: { provider: 'function' } });
      for (const call of calls(page.window.metapixel)) {
        call();
        await pause();
      }
      await page.pass(0);
      assert.equal(page.scripts.length, 1);
      await page.metaLoads();
      assert.equal(page.postsTo(CONFIG.collect).at(-1).pixel, 'loaded');
    });
  }
}

test('a yes on a page that began with a no, and with cookies of Meta, loads the script of Meta', async () => {
  const page = asked('denied', { cookies: META, islands: [{ event: VIEW }] });
  await settle();
  page.consent.say('granted');
  await page.metaLoads();
  assert.deepEqual([page.scripts.length, page.firedNames], [1, ['PageView', 'ViewContent']]);
});

test('the answer to a withdrawal that comes after another yes deletes nothing', async () => {
  const page = asked('granted', { cookies: META });
  let answer;
  page.answers[CONFIG.consent] = () => new Promise((resolve) => (answer = resolve));
  await settle();
  page.consent.say('denied');
  await settle();
  page.consent.say('granted');
  await settle();
  const before = page.jar.get('_fbp');
  answer({ status: 204 });
  await page.pass(0);
  assert.equal(page.jar.get('_fbp'), before);
});

test('who became staff meanwhile is heard all the same, and tells nothing more', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  await page.metaLoads();
  page.jar.text = 'metapixel_off=; Path=/';
  page.window.metapixel.track('Contact');
  page.consent.say('denied');
  await page.pass(5000);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
  assert.equal(page.postsTo(CONFIG.consent).length, 1);
});

test('who becomes staff before Meta is told loads no script', async () => {
  const page = asked('unknown');
  page.consent.say('granted');
  page.jar.text = 'metapixel_off=; Path=/';
  await page.pass(5000);
  assert.deepEqual([page.scripts, page.postsTo(CONFIG.collect)], [[], []]);
});

test('a page that is left with the grant has told', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }] });
  page.consent.say('granted');
  page.document.hidden = true;
  page.documentListeners.dispatch('visibilitychange');
  await page.pass(5000);
  assert.deepEqual([page.beacons.map(({ body }) => body.events.length), page.posts], [[2], []]);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
});

test('a page that is left without a grant tells nothing', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }] });
  await page.leave();
  nothing(page);
});

test('a grant is acted upon once', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  page.consent.say('granted');
  await page.metaLoads();
  page.consent.say('granted');
  assert.deepEqual([page.firedNames.length, page.scripts.length, page.posts.length], [2, 1, 1]);
});

test('a denial drops what was held', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }] });
  page.consent.say('denied');
  await page.pass(5000);
  await page.leave();
  nothing(page);
});

test('a grant after a denial tells the page that is still being shown', async () => {
  for (const first of ['unknown', 'denied']) {
    const page = asked(first, { islands: [{ event: VIEW }, { ticket: 'SIGNED' }] });
    page.consent.say('denied');
    page.consent.say('granted');
    await page.metaLoads();
    assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
    assert.deepEqual([page.postsTo(CONFIG.collect).length, page.postsTo(CONFIG.ticket).length], [1, 1]);
  }
});

test('a grant taken back before anything was posted, and given again, tells the page anew, once', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  const [first] = page.fired;
  await page.pass(1999);
  page.consent.say('denied');
  await page.pass(0);
  assert.deepEqual([page.firedNames, page.postsTo(CONFIG.collect)], [[], []]);
  page.consent.say('granted');
  await page.pass(2000);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
  assert.notEqual(page.fired[0][4].eventID, first[4].eventID);
  const [{ events }, ...more] = page.postsTo(CONFIG.collect);
  assert.deepEqual([events.map((one) => one.event_id), more], [page.fired.map((call) => call[4].eventID), []]);
});

test('... but what was posted already is not told again', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  await page.pass(2000);
  const told = page.postsTo(CONFIG.collect);
  page.consent.say('denied');
  await page.pass(0);
  page.consent.say('granted');
  await page.pass(2000);
  assert.deepEqual([page.postsTo(CONFIG.collect), page.firedNames], [told, []]);
});

test('denied: the echo cookies are deleted and not fired', () => {
  const page = asked('denied', { cookies: `a=b; metapixel_e_12345678=${base64url(ECHO)}` });
  nothing(page);
  assert.equal(page.jar.text, 'a=b');
});

test('unknown: the echo cookies are deleted, and fired only after a grant on this page', async () => {
  const page = asked('unknown', { cookies: `metapixel_e_12345678=${base64url(ECHO)}` });
  nothing(page);
  assert.equal(page.jar.text, '');
  page.consent.say('granted');
  await settle();
  assert.deepEqual(page.firedNames, ['PageView', 'AddToCart']);
});

test('a tool that breaks is no consent', () => {
  nothing(asked('unknown', { window: { metapixel: { consent: { read() { throw new Error('broken'); }, watch() {} } } } }));
  nothing(asked('yes'));
});

test('a tool that breaks later is not noticed by the page', async () => {
  const broken = () => { throw new Error('broken'); };
  const page = asked('granted', { scripts: ['metapixel.js'] });
  await page.metaLoads();
  Object.assign(page.consent, { read: broken, choose: broken });
  Object.assign(page.window.metapixel.consent, { read: broken, choose: broken });
  const { grant, deny, revoke, scan } = page.window.metapixel;
  [scan, grant, deny, revoke].forEach((call) => call());
  await page.pass(0);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('not_required needs no tool, and a denial counts all the same', () => {
  const config = { provider: 'not_required' };
  assert.deepEqual(new Page({ config }).firedNames, ['PageView']);
  assert.deepEqual(asked('unknown', { config }).firedNames, ['PageView']);
  nothing(asked('denied', { config }));
});

test('a site without a tool speaks through grant() and deny()', async () => {
  const page = new Page({ config: { provider: 'function' } });
  page.window.metapixel.deny();
  nothing(page);
  page.window.metapixel.grant();
  await settle();
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a tool that can choose is asked, and its word is waited for', async () => {
  const choices = [];
  const consent = { ...tool('unknown'), choose: (choice) => choices.push(choice) };
  const page = new Page({ window: { metapixel: { consent } }, config: { provider: 'cookie' } });
  page.window.metapixel.grant();
  page.window.metapixel.deny();
  assert.deepEqual(choices, ['granted', 'denied']);
  nothing(page);
});

test('revoke stops at once, tells the server, then deletes the cookies', async () => {
  const page = asked('granted', { cookies: META, islands: [{ event: VIEW }] });
  let present;
  page.answers[CONFIG.consent] = () => {
    present = meta(page);
  };
  await settle(); // Meta's script is on its way
  page.window.metapixel.revoke();
  assert.deepEqual(page.calls.filter(([verb]) => verb === 'consent'), [['consent', 'revoke']]);
  page.island({ event: { event_name: 'Search' } });
  await page.tell('htmx:afterSettle');
  await page.metaLoads();
  await page.leave();
  assert.deepEqual(page.postsTo(CONFIG.consent), [{ choice: 'withdrawn' }]);
  assert.deepEqual([page.posts.length, page.beacons.length, page.firedNames.includes('Search')], [1, 0, false]);
  assert.deepEqual([present.includes(null), meta(page)], [false, [null, null]]);
});

test('revoke deletes the echo cookies that other answers have left', async () => {
  const page = asked('granted');
  await page.metaLoads();
  page.jar.text = `metapixel_e_12345678=${base64url(ECHO)}`;
  page.window.metapixel.revoke();
  assert.deepEqual([page.jar.get('metapixel_e_12345678'), page.firedNames], [null, ['PageView']]);
});

test('revoke deletes the cookies on the domain they stuck on', async () => {
  const page = asked('granted', { url: 'https://a.shop.example.co.uk/' });
  assert.deepEqual(page.jar.cookies.map((cookie) => cookie.domain), ['example.co.uk']);
  await page.window.metapixel.revoke();
  assert.deepEqual(page.jar.cookies, []);
});

test('revoke keeps the cookies, but stays silent, where the server did not hear', async () => {
  for (const answer of [{ status: 500 }, new Error('offline')]) {
    const page = asked('granted', { cookies: META });
    page.answers[CONFIG.consent] = answer;
    await page.window.metapixel.revoke();
    await page.tell('htmx:afterSettle');
    await page.pass(5000);
    assert.deepEqual([meta(page).includes(null), page.postsTo(CONFIG.collect)], [false, []]);
    page.answers[CONFIG.consent] = undefined;
    await page.window.metapixel.revoke();
    assert.deepEqual(meta(page), [null, null]);
  }
});

test('a withdrawal in the tool is told to the server', async () => {
  const page = asked('granted', { cookies: META });
  page.consent.say('denied');
  await page.pass(0);
  assert.deepEqual([page.postsTo(CONFIG.consent), meta(page)], [[{ choice: 'withdrawn' }], [null, null]]);
});

test('a withdrawal that was cut short is finished on the next page', async () => {
  const page = asked('denied', { cookies: META });
  await page.pass(0);
  assert.deepEqual([page.postsTo(CONFIG.consent), meta(page)], [[{ choice: 'withdrawn' }], [null, null]]);
  const clean = asked('denied');
  await clean.pass(0);
  nothing(clean);
});

test('deny after a grant is a withdrawal', async () => {
  const page = asked('granted');
  page.window.metapixel.deny();
  await page.pass(0);
  assert.deepEqual(page.postsTo(CONFIG.consent), [{ choice: 'withdrawn' }]);
});

test('revoke does not silence a pixel that is not ours', async () => {
  const fbq = Object.assign((...words) => fbq.queue.push(words), { queue: [] });
  const consent = tool('granted');
  const page = asked('', { window: { fbq, metapixel: { consent } } });
  await page.window.metapixel.revoke();
  consent.say('granted');
  assert.equal(page.calls.some((call) => call[0] === 'consent'), false);
});

test('a grant after a withdrawal goes on with the same script', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  await page.metaLoads();
  page.consent.say('denied');
  await page.pass(0);
  page.consent.say('granted');
  page.island({ event: { event_name: 'Search' } });
  await page.tell('htmx:afterSettle');
  assert.deepEqual(page.calls.filter((call) => call[0] === 'consent'), [['consent', 'revoke'], ['consent', 'grant']]);
  assert.deepEqual([page.scripts.length, page.firedNames], [1, ['PageView', 'ViewContent', 'Search']]);
});

test('a page that comes back from the cache after a withdrawal elsewhere stays silent', async () => {
  let state = 'granted';
  const page = asked('', { window: { metapixel: { consent: { read: () => state, watch() {} } } } });
  await page.metaLoads();
  await page.leave();
  state = 'denied';
  await page.comeBack();
  assert.deepEqual([page.firedNames, page.postsTo(CONFIG.collect).length], [['PageView'], 1]);
});

// What another window has done since, without a word to this one.
const silent = (options = {}) => {
  const answer = { now: 'granted' };
  const consent = { read: () => answer.now, watch() {} };
  const page = asked('', { window: { metapixel: { consent } }, ...options });
  return Object.assign(page, { answer });
};
const forgetAll = (page) => page.jar.cookies.splice(0);

test('a withdrawal elsewhere stops what waits for the script of Meta', async () => {
  const page = silent();
  page.answer.now = 'denied';
  forgetAll(page);
  await page.metaLoads();
  await page.pass(2000);
  await page.leave();
  assert.deepEqual([page.postsTo(CONFIG.collect), page.beacons, meta(page)], [[], [], [null, null]]);
  assert.deepEqual(page.postsTo(CONFIG.consent), [{ choice: 'withdrawn' }]);
});

test('a withdrawal elsewhere stops the asking for the ticket', async () => {
  const page = silent({ islands: [{ ticket: 'SIGNED' }], scripts: [] });
  page.answers[CONFIG.ticket] = { json: { wait: true } };
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  await page.metaLoads();
  page.answer.now = 'denied';
  forgetAll(page);
  await page.pass(60000);
  assert.deepEqual([page.postsTo(CONFIG.ticket).length, meta(page)], [1, [null, null]]);
});

for (const [what, url, json, options] of [
  ['ticket', CONFIG.ticket, { event: ECHO }, { islands: [{ ticket: 'SIGNED' }] }],
  ['echo', CONFIG.echo, { events: [ECHO] }, { cookies: `metapixel_e_12345678=${base64url({ i: 'e1' })}` }],
]) {
  test(`an event that comes by ${what} after a withdrawal elsewhere is not fired`, async () => {
    const page = silent({ ...options, scripts: [] });
    page.answers[url] = () => {
      page.answer.now = 'denied';
      return { json };
    };
    ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
    await page.pass(0);
    assert.deepEqual([page.postsTo(url).length, page.firedNames.includes('AddToCart')], [1, false]);
  });
}

test('while the tool asks anew, what waits to be posted waits on', async () => {
  const page = silent();
  page.answer.now = 'unknown';
  await page.metaLoads();
  await page.leave();
  assert.deepEqual([page.posts, page.beacons], [[], []]);
  page.answer.now = 'granted';
  page.window.metapixel.scan();
  await page.pass(0);
  assert.equal(page.postsTo(CONFIG.collect).length, 1);
});

test('denied, unknown, granted: the script of Meta speaks again', async () => {
  const page = asked('granted');
  for (const answer of ['denied', 'unknown', 'granted', 'granted']) {
    page.consent.say(answer);
    await page.pass(0);
  }
  assert.deepEqual(page.calls.filter(([verb]) => verb === 'consent'), [['consent', 'revoke'], ['consent', 'grant']]);
});

test("grant() on the page does not outweigh the tool's no", async () => {
  const page = asked('denied');
  page.window.metapixel.grant();
  await page.pass(5000);
  nothing(page);
  const open = asked('unknown');
  open.window.metapixel.grant();
  await settle();
  assert.deepEqual(open.firedNames, ['PageView']);
  open.consent.say('denied');
  assert.equal(open.postsTo(CONFIG.consent).length, 1);
});

test('a callback that withdraws stops the rest of the view, and nothing of it is posted', async () => {
  const page = asked('unknown', { islands: [{ event: VIEW }, { event: { event_name: 'Search' } }] });
  const heard = [];
  page.window.metapixel.on('event', ({ event_name }) => {
    heard.push(event_name);
    page.window.metapixel.revoke();
  });
  page.moveTo('/other/');
  page.window.metapixel.track('Contact');
  page.consent.say('granted');
  await page.pass(2000);
  await page.leave();
  assert.deepEqual([heard, page.postsTo(CONFIG.collect), page.beacons], [['PageView'], [], []]);
});

test('a page that is looked at again and again before an answer holds its events and tickets, once', async () => {
  const page = asked('unknown', { islands: [{ ticket: 'SIGNED' }] });
  for (let time = 0; time < 50; time += 1) page.window.metapixel.scan();
  page.consent.say('granted');
  await page.metaLoads();
  assert.deepEqual([page.firedNames, page.postsTo(CONFIG.ticket).length], [['PageView'], 1]);
  assert.equal(page.postsTo(CONFIG.collect).length, 1);
});

test('... and a denial after a grant tells none of it anew', async () => {
  const page = asked('granted', { islands: [{ event: VIEW }] });
  await page.metaLoads();
  page.consent.say('unknown');
  for (let time = 0; time < 5; time += 1) page.window.metapixel.scan();
  for (const answer of ['denied', 'granted']) page.consent.say(answer);
  await page.pass(2000);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
});

for (const call of ['revoke', 'deny']) {
  test(`${call}() under Global Privacy Control: the server is told, the cookies go`, async () => {
    const page = asked('granted', { cookies: META, navigator: { globalPrivacyControl: true } });
    page.window.metapixel[call]();
    await page.pass(0);
    assert.deepEqual([page.postsTo(CONFIG.consent), meta(page)], [[{ choice: 'withdrawn' }], [null, null]]);
    assert.deepEqual([page.posts.length, page.scripts], [1, []]);
  });
}

test('deny() under Global Privacy Control takes old cookies away, also without an answer of the tool', async () => {
  const page = asked('unknown', { cookies: META, navigator: { globalPrivacyControl: true } });
  page.window.metapixel.deny();
  await page.pass(0);
  assert.deepEqual([page.postsTo(CONFIG.consent), meta(page)], [[{ choice: 'withdrawn' }], [null, null]]);
});

test('revoke() posts nothing where there is no island, or no address', async () => {
  for (const options of [{ config: null }, { config: { collect: '', consent: '' } }]) {
    const page = new Page({ cookies: META, ...options });
    page.window.metapixel.revoke();
    page.window.metapixel.deny();
    await page.pass(0);
    assert.deepEqual(page.posts, []);
  }
});
