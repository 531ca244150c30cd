'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, Page, plain } = require('./browser.js');
const { answer, mirror, say, withdrawals } = require('./consent_page.js');

const META = '_fbp=fb.1.1500000000000.99';

// A tool of our own making: its answer is what the test says.
const open = ({ options, cookies, ...rest } = {}) => {
  const page = new Page({ scripts: ['consent_watch.js'], cookies, config: { provider: 'tcf' }, ...rest });
  page.heard = [];
  page.handle = page.window.metapixel.adapt(() => {
    if (page.answer instanceof Error) throw page.answer;
    return page.answer;
  }, options);
  if (page.handle) page.window.metapixel.consent.watch((state) => page.heard.push(state));
  return page;
};
const turn = async (page, said) => {
  page.answer = said;
  page.handle.heard();
  await page.pass(500);
};

test('watchers hear each change once, and nothing that is no change', async () => {
  const page = open();
  for (const said of ['unknown', 'granted', 'granted', 'denied', undefined]) await turn(page, said);
  assert.deepEqual(page.heard, ['granted', 'denied', 'unknown']);
});

for (const said of [undefined, null, '', 'yes', 'GRANTED', true, 1, {}, new Error('the tool broke')]) {
  test(`a tool that says ${String(said)} has said nothing`, async () => {
    const page = open();
    await turn(page, said);
    assert.deepEqual([answer(page), page.heard], ['unknown', []]);
  });
}

test('a watcher that throws keeps no other from hearing', async () => {
  const page = open();
  page.window.metapixel.consent.watch(() => { throw new Error('x'); });
  let heard;
  page.window.metapixel.consent.watch((state) => (heard = state));
  await turn(page, 'granted');
  assert.equal(heard, 'granted');
});

test('a tool that writes down its answer after it told is asked once more', async () => {
  const page = open();
  page.handle.heard();
  page.answer = 'granted';
  assert.deepEqual(page.heard, []);
  await page.pass(500);
  assert.deepEqual(page.heard, ['granted']);
});

for (const [name, target] of [
  ['visibilitychange', 'documentListeners'],
  ['prerenderingchange', 'documentListeners'],
  ['metapixel:consent', 'documentListeners'],
  ['load', 'windowListeners'],
  ['pageshow', 'windowListeners'],
]) {
  test(`${name}: the tool is asked again`, async () => {
    const page = open();
    page.answer = 'granted';
    await page.tell(name, {}, page[target]);
    assert.deepEqual(page.heard, ['granted']);
  });
}

test('a page that has a tool already keeps it, also when the files stand there twice', () => {
  const page = open();
  const { consent } = page.window.metapixel;
  page.run('consent_watch.js');
  assert.equal(page.window.metapixel.adapt(() => 'granted'), undefined);
  assert.equal(page.window.metapixel.consent, consent);
});

test('without an island, or with a broken one, nothing is thrown', () => {
  for (const text of [null, '{', 'null']) {
    const page = new Page({ scripts: [], config: null });
    if (text) page.add('script', { id: 'metapixel-config' }, text);
    page.run('consent_watch.js');
    page.window.metapixel.adapt(() => 'granted');
    assert.equal(answer(page), 'granted');
  }
});

// The mirror

test('the mirror holds the choice, nothing else, for a day, on this site alone', async () => {
  const page = open({ options: { mirrored: true } });
  await turn(page, 'granted');
  assert.equal(page.jar.writes[0], 'metapixel_choice=granted; Path=/; Max-Age=86400; SameSite=Lax; Secure');
  await turn(page, 'denied');
  assert.equal(mirror(page), 'denied');
});

test('on plain http the mirror works too', async () => {
  const page = open({ url: 'http://localhost:8080/', options: { mirrored: true } });
  await turn(page, 'granted');
  assert.equal(mirror(page), 'granted');
});

test('the mirror is written anew on each page', () => {
  const page = new Page({ scripts: ['consent_watch.js'], cookies: 'metapixel_choice=granted' });
  page.window.metapixel.adapt(() => 'granted', { mirrored: true });
  assert.equal(page.jar.writes.length, 1);
});

test('a tool that has not loaded leaves the mirror; one that asks anew takes it away', async () => {
  const page = open({ cookies: 'metapixel_choice=granted', options: { mirrored: true } });
  await turn(page, undefined);
  assert.equal(mirror(page), 'granted');
  await turn(page, 'unknown');
  assert.equal(mirror(page), null);
});

test('a tool that breaks takes the mirror away', async () => {
  const page = open({ cookies: 'metapixel_choice=granted', options: { mirrored: true } });
  await turn(page, new Error('x'));
  assert.equal(mirror(page), null);
});

test('a tool with a cookie of its own gets no mirror', async () => {
  const page = open();
  await turn(page, 'granted');
  assert.deepEqual(page.jar.writes, []);
});

test('nothing is written while nobody looks at the page', async () => {
  const page = open({ prerendering: true, options: { mirrored: true } });
  await turn(page, 'granted');
  assert.deepEqual(page.jar.writes, []);
  page.document.prerendering = false;
  await page.tell('prerenderingchange');
  assert.equal(mirror(page), 'granted');
});

test('blocked storage costs the mirror, not the page', async () => {
  const page = open({ options: { mirrored: true } });
  page.jar.blocked = true;
  await turn(page, 'granted');
  assert.equal(answer(page), 'granted');
});

for (const [said, newer] of [['denied', 'granted'], ['unknown', 'granted'], ['granted', null], ['granted', 'denied']]) {
  test(`a page that still hears ${said} leaves ${newer} in the mirror`, async () => {
    const page = open({ options: { mirrored: true } });
    await turn(page, said);
    page.jar.text = newer ? `metapixel_choice=${newer}; Path=/` : 'metapixel_choice=; Path=/; Max-Age=0';
    await page.tell('visibilitychange');
    await page.tell('pagehide', {}, page.windowListeners);
    assert.equal(mirror(page), newer);
  });
}

const MIRROR = '0a1b2c3d';
const owned = (cookies) => open({ cookies, config: { provider: 'tcf', mirror: MIRROR }, options: { mirrored: true } });

test('the mirror says whose it is', async () => {
  const page = owned();
  await turn(page, 'granted');
  assert.equal(mirror(page), `granted.${MIRROR}`);
  await turn(page, 'denied');
  assert.equal(mirror(page), `denied.${MIRROR}`);
});

for (const [value, expected] of [
  [`denied.${MIRROR}`, 'denied'],
  ['denied.ffffffff', 'granted'],
  ['denied', 'granted'],
  [`granted.${MIRROR}`, 'granted'],
]) {
  test(`beside an old yes, the mirror ${value} makes it ${expected}`, async () => {
    const page = owned();
    await turn(page, 'granted');
    page.jar.text = `metapixel_choice=${value}; Path=/`;
    assert.equal(answer(page), expected);
  });
}

test('without a name in the island a mirror that bears one counts as none', async () => {
  const page = open({ options: { mirrored: true } });
  await turn(page, 'granted');
  page.jar.text = `metapixel_choice=denied.${MIRROR}; Path=/`;
  assert.equal(answer(page), 'granted');
});

// What the visitor told us and not the tool

test('a withdrawal told to us outlives the page', () => {
  const page = new Page({ scripts: ['consent_watch.js'], cookies: 'metapixel_consent=denied' });
  page.window.metapixel.adapt(() => 'granted', { mirrored: true });
  assert.deepEqual([answer(page), mirror(page)], ['denied', 'denied']);
});

test('... until the tool says no and then yes', async () => {
  const page = open({ cookies: 'metapixel_consent=denied' });
  await turn(page, 'granted');
  assert.equal(answer(page), 'denied');
  await turn(page, 'denied');
  assert.equal(page.jar.get('metapixel_consent'), null);
  await turn(page, 'granted');
  assert.equal(answer(page), 'granted');
});

test('... also when the server wrote it down only after the no', async () => {
  const page = open();
  await turn(page, 'denied');
  page.jar.text = 'metapixel_consent=denied; Path=/';
  await turn(page, 'granted');
  assert.equal(answer(page), 'granted');
});

test('... or when the page was left before', async () => {
  const page = open();
  await turn(page, 'denied');
  page.window.metapixel.consent.refuse();
  page.jar.text = 'metapixel_consent=denied; Path=/';
  await page.tell('pagehide', {}, page.windowListeners);
  assert.equal(page.jar.get('metapixel_consent'), null);
});

test('a page that only remembers a no leaves what was told to us elsewhere', async () => {
  const page = open();
  await turn(page, 'denied');
  page.jar.text = 'metapixel_consent=denied; Path=/';
  await page.tell('visibilitychange');
  await page.tell('pagehide', {}, page.windowListeners);
  assert.equal(page.jar.get('metapixel_consent'), 'denied');
});

test('a tool that is still loading settles nothing', async () => {
  const page = open({ cookies: 'metapixel_consent=denied' });
  await turn(page, undefined);
  await turn(page, 'unknown');
  assert.equal(page.jar.get('metapixel_consent'), 'denied');
});

test('revoke() on the page: the server is told, and the next page still knows', async () => {
  const page = open({ cookies: META });
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  page.answers[CONFIG.consent] = () => {
    page.jar.text = 'metapixel_consent=denied; Path=/';
  };
  await turn(page, 'granted');
  page.window.metapixel.revoke();
  await page.pass(0);
  assert.equal(withdrawals(page), 1);
  assert.deepEqual([answer(page), page.jar.get('_fbp')], ['denied', null]);
});

// Handing a choice to the tool

const settable = (options) => {
  const page = open({ options: { set: (allowed, names) => page.set.push([allowed, names]) }, ...options });
  page.set = [];
  return page;
};
const choose = (page, choice) => page.window.metapixel.consent.choose(choice);

test('refuse() writes the objection down, for 180 days and this site alone', () => {
  const page = open();
  page.answer = 'granted';
  page.window.metapixel.consent.refuse();
  assert.deepEqual(page.jar.writes, ['metapixel_consent=denied; Path=/; Max-Age=15552000; SameSite=Lax; Secure']);
  assert.equal(answer(page), 'denied');
});

test('a tool without a way to be told has no choose', () => {
  assert.equal(open().window.metapixel.consent.choose, undefined);
});

test('a choice goes to the tool with the names of the site', async () => {
  const page = settable({ config: { provider: 'cookiebot', tool: { category: 'statistics' } } });
  assert.deepEqual([await choose(page, 'granted'), await choose(page, 'denied')], [true, true]);
  assert.deepEqual(plain(page.set), [[true, { category: 'statistics' }], [false, { category: 'statistics' }]]);
  assert.equal(withdrawals(page), 0);
});

test('a withdrawal is told to the server first, then to the tool', async () => {
  const page = settable();
  page.answer = 'granted';
  page.answers[CONFIG.consent] = () => assert.deepEqual(page.set, []);
  assert.equal(await choose(page, 'withdrawn'), true);
  assert.deepEqual([withdrawals(page), page.set.length], [1, 1]);
});

test('a withdrawal that came from the tool is not told to it again', async () => {
  const page = settable();
  page.answer = 'denied';
  assert.equal(await choose(page, 'withdrawn'), true);
  assert.deepEqual([withdrawals(page), page.set], [1, []]);
});

test('a server that does not hear keeps the tool as it was', async () => {
  for (const failure of [{ status: 500 }, new TypeError('offline')]) {
    const page = settable();
    page.answers[CONFIG.consent] = failure;
    assert.equal(await choose(page, 'withdrawn'), false);
    assert.deepEqual(page.set, []);
  }
});

// The server writes the no down with its answer.
const slow = (page) => {
  const waiting = [];
  page.answers[CONFIG.consent] = async () => {
    await new Promise((resolve) => waiting.push(resolve));
    page.jar.text = 'metapixel_consent=denied; Path=/';
  };
  return waiting;
};

test('a yes after a withdrawal counts, though the answer to the withdrawal comes later', async () => {
  const page = settable();
  await turn(page, 'granted');
  const [waiting, withdrawn] = [slow(page), choose(page, 'withdrawn')];
  assert.equal(await choose(page, 'granted'), true);
  await page.pass(0);
  waiting[0]();
  assert.equal(await withdrawn, false);
  await page.pass(500);
  assert.deepEqual(page.set.map(([allowed]) => allowed), [true]);
  assert.deepEqual([answer(page), page.jar.get('metapixel_consent')], ['granted', null]);
});

test('a withdrawal after a yes counts, and so does the second of two', async () => {
  const page = settable();
  await turn(page, 'granted');
  const waiting = slow(page);
  const answers = ['granted', 'withdrawn', 'withdrawn'].map((choice) => choose(page, choice));
  await page.pass(0);
  [...waiting].reverse().forEach((resolve) => resolve());
  assert.deepEqual(await Promise.all(answers), [true, true, true]);
  assert.deepEqual(page.set.map(([allowed]) => allowed), [true, false, false]);
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 2]);
});

test('a no on top of a withdrawal leaves it as it is', async () => {
  const page = settable();
  await turn(page, 'granted');
  const waiting = slow(page);
  const answers = ['withdrawn', 'denied'].map((choice) => choose(page, choice));
  await page.pass(0);
  waiting.forEach((resolve) => resolve());
  assert.deepEqual(await Promise.all(answers), [true, true]);
  assert.deepEqual([withdrawals(page), page.jar.get('metapixel_consent'), answer(page)], [1, 'denied', 'denied']);
});

test('a tool that throws has not taken the choice', async () => {
  const page = open({ options: { set: () => { throw new Error('x'); } } });
  assert.equal(await choose(page, 'granted'), false);
});

// Where the shop's hosts share their cookies.
const cookies = (page, name) =>
  page.jar.cookies.filter((one) => one.name === name).map(({ value, domain }) => [value, domain]);

for (const [domain, kept] of [['example.com', 'example.com'], ['com', null], [undefined, null]]) {
  test(`with "domain": ${domain} the mirror stands on ${kept || 'the host'}, and alone`, async () => {
    const config = { provider: 'tcf', mirror: 'abcdef01', domain };
    const page = open({ options: { mirrored: true }, cookies: 'metapixel_choice=denied.abcdef01', config });
    await turn(page, 'granted');
    assert.deepEqual(cookies(page, 'metapixel_choice'), [['granted.abcdef01', kept]]);
    await turn(page, 'denied');
    assert.deepEqual(cookies(page, 'metapixel_choice'), [['denied.abcdef01', kept]]);
    await turn(page, 'unknown');
    assert.deepEqual(cookies(page, 'metapixel_choice'), []);
  });

  test(`with "domain": ${domain} an objection stands on ${kept || 'the host'}, and goes from everywhere`, async () => {
    const page = open({ options: { set: () => {} }, config: { provider: 'tcf', domain } });
    await turn(page, 'granted');
    page.window.metapixel.consent.refuse();
    assert.deepEqual(cookies(page, 'metapixel_consent'), [['denied', kept]]);
    page.jar.text = 'metapixel_consent=denied; Path=/';
    assert.equal(answer(page), 'denied');
    await page.window.metapixel.consent.choose('granted');
    assert.deepEqual([cookies(page, 'metapixel_consent'), answer(page)], [[], 'granted']);
  });
}

test('an objection counts wherever it stands', async () => {
  const page = open({ cookies: 'metapixel_consent=granted.1' });
  page.jar.text = 'metapixel_consent=denied; Path=/; Domain=example.com';
  await turn(page, 'granted');
  assert.equal(answer(page), 'denied');
});
