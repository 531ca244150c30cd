'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, plain, settle, tool } = require('./browser.js');

const OTHER = '9999999999';

// Another pixel's fbq: a stub that waits, or the script that has loaded.
const theirs = (extra = {}) => {
  const fbq = function () {
    fbq.queue.push(arguments);
  };
  return Object.assign(fbq, { queue: [], ...extra });
};

test('our stub follows the protocol of the queue', () => {
  const { window } = new Page();
  const { queue, push, ...properties } = plain({ ...window.fbq, queue: 0, push: 0 });
  assert.deepEqual(properties, { loaded: true, version: '2.0', disablePushState: true, allowDuplicatePageViews: true });
  assert.equal(window.fbq.push, window.fbq);
  assert.equal(window._fbq, window.fbq);
});

test('once the script of Meta is there, calls go to it', () => {
  const page = new Page();
  const seen = [];
  const waiting = page.calls.length;
  page.window.fbq.callMethod = (...words) => seen.push(words);
  page.window.fbq('track', 'Lead');
  assert.deepEqual([seen, page.calls.length], [[['track', 'Lead']], waiting]);
});

test('the automatic events are switched off before the pixel starts', () => {
  const page = new Page({ config: { pixels: [{ id: PIXEL, events: null }, { id: OTHER, events: null }] } });
  assert.deepEqual(page.calls.slice(0, 4), [
    ['set', 'autoConfig', false, PIXEL],
    ['init', PIXEL],
    ['set', 'autoConfig', false, OTHER],
    ['init', OTHER],
  ]);
});

test('the script of Meta is loaded from the configured address, once', async () => {
  const page = new Page();
  page.window.metapixel.scan();
  await settle();
  assert.deepEqual(page.scripts.map((script) => script.src), [CONFIG.script]);
});

test('the cookies exist before the script of Meta does', async () => {
  let cookies;
  const page = new Page({
    createElement: () => {
      cookies = page.jar.get('_fbp');
      return {};
    },
    scripts: [],
  });
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  await settle();
  assert.match(cookies, /^fb\.1\./);
});

test('a pixel gets the events chosen for it', () => {
  const page = new Page({
    config: { pixels: [{ id: PIXEL, events: ['PageView'] }, { id: OTHER, events: ['ViewContent'] }] },
    islands: [{ event: { event_name: 'ViewContent', custom_data: {} } }],
  });
  assert.deepEqual(page.fired.map((call) => [call[1], call[2]]), [[PIXEL, 'PageView'], [OTHER, 'ViewContent']]);
});

test('where no pixel sends from the browser the script of Meta is not loaded', async () => {
  const page = new Page({ config: { pixels: [{ id: PIXEL, events: [] }] } });
  await page.pass(0);
  assert.deepEqual([page.scripts, page.window.fbq], [[], undefined]);
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'failed');
});

test('a pixel that sends nothing from the browser is not started', () => {
  const page = new Page({ config: { pixels: [{ id: PIXEL, events: null }, { id: OTHER, events: [] }] } });
  assert.equal(page.calls.some((call) => call.includes(OTHER)), false);
});

test('another pixel on the page: no second script, a note, and ours is started beside it', () => {
  const fbq = theirs({ getState: () => ({ pixels: [{ id: OTHER }] }) });
  const page = new Page({ window: { fbq } });
  assert.deepEqual([page.scripts, page.infos.length, page.window.fbq], [[], 1, fbq]);
  assert.deepEqual(page.calls.slice(0, 2), [['set', 'autoConfig', false, PIXEL], ['init', PIXEL]]);
  assert.equal(fbq.disablePushState, undefined);
  page.window.metapixel.scan();
  assert.equal(page.infos.length, 1);
});

test('a pixel that was started by somebody else is not started again', () => {
  for (const id of [PIXEL, Number(PIXEL)]) {
    const page = new Page({ window: { fbq: theirs({ getState: () => ({ pixels: [{ id }] }) }) } });
    assert.deepEqual(page.calls.map((call) => call[0]), ['trackSingle']);
  }
});

test('a pixel that waits in the queue of somebody else is not started again', () => {
  const fbq = theirs();
  fbq('init', PIXEL);
  fbq('track', 'PageView');
  const page = new Page({ window: { fbq } });
  assert.deepEqual(page.calls.map((call) => call[0]), ['init', 'track', 'trackSingle']);
});

test('the loaded script of another pixel counts as loaded, and the server hears that it is shared', async () => {
  const page = new Page({ window: { fbq: theirs({ callMethod() {} }) } });
  await page.pass(0);
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'shared');
});

for (const [whose, id, word] of [['another pixel', '5555555555', 'shared'], ['ours', PIXEL, 'loaded']]) {
  test(`${whose} that was started on our script while it came is told to the server as ${word}`, async () => {
    const page = new Page();
    page.window.fbq('init', id);
    await page.metaLoads();
    assert.equal(page.postsTo(CONFIG.collect)[0].pixel, word);
  });
}

test('the waiting stub of another pixel is unknown after two seconds', async () => {
  const page = new Page({ window: { fbq: theirs() } });
  await page.pass(0);
  assert.deepEqual(page.posts, []);
  await page.pass(2000);
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'unknown');
});

test('an fbq that throws is not noticed by the page, and the server still hears', async () => {
  const fbq = () => {
    throw new Error('broken');
  };
  const page = new Page({ window: { fbq } });
  await page.pass(2000);
  assert.equal(page.postsTo(CONFIG.collect).length, 1);
});

test('an element that is called fbq is not a pixel', async () => {
  const page = new Page({ window: { fbq: { tagName: 'DIV' } } });
  await settle();
  assert.deepEqual([page.firedNames, page.scripts.length], [['PageView'], 1]);
});

// A script element where Trusted Types are enforced: a plain string is refused.
const guarded = (url) => ({ url });
const enforcing = () => ({
  set src(value) {
    if (typeof value === 'string') throw new TypeError('This document requires TrustedScriptURL');
    this.address = value.url;
  },
});

test('Trusted Types get a policy called metapixel', async () => {
  const names = [];
  const trustedTypes = {
    createPolicy(name, rules) {
      names.push(name);
      return { createScriptURL: (url) => guarded(rules.createScriptURL(url)) };
    },
  };
  const page = new Page({ window: { trustedTypes }, createElement: enforcing });
  await settle();
  assert.deepEqual([names, page.scripts[0].address], [['metapixel'], CONFIG.script]);
});

test('a refused policy is a script that failed to load', async () => {
  const trustedTypes = {
    createPolicy() {
      throw new TypeError('Policy "metapixel" disallowed.');
    },
  };
  const page = new Page({ window: { trustedTypes }, createElement: enforcing });
  await page.pass(0);
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'failed');
});

test('a refused policy does not matter where Trusted Types are not enforced', async () => {
  const trustedTypes = {
    createPolicy() {
      throw new TypeError('Policy "metapixel" disallowed.');
    },
  };
  const page = new Page({ window: { trustedTypes } });
  await settle();
  assert.equal(page.scripts[0].src, CONFIG.script);
});

test('limited data use is said before the first pixel starts, and once', () => {
  const page = new Page({ config: { ldu: true, pixels: [{ id: PIXEL, events: null }, { id: OTHER, events: null }] } });
  page.window.metapixel.track('Contact');
  const calls = page.calls.map((call) => call[0]);
  assert.deepEqual(page.calls[0], ['dataProcessingOptions', ['LDU'], 0, 0]);
  assert.equal(calls.filter((verb) => verb === 'dataProcessingOptions').length, 1);
  assert.equal(new Page().calls.some((call) => call[0] === 'dataProcessingOptions'), false);
});

test('limited data use is said beside another pixel, too', () => {
  const page = new Page({ config: { ldu: true }, window: { fbq: theirs({ getState: () => ({ pixels: [{ id: PIXEL }] }) }) } });
  assert.deepEqual(page.calls.map((call) => call[0]), ['dataProcessingOptions', 'trackSingle']);
});

// What a tag manager was handed.
const handed = (page) => plain(page.window.dataLayer);

test('events are handed to the tag manager, and nothing of Meta is loaded or called', async () => {
  const page = new Page({
    config: { data_layer: true },
    islands: [{ event: { event_name: 'ViewContent', custom_data: { value: 5, currency: 'EUR' } } }],
  });
  await page.pass(0);
  assert.deepEqual([page.scripts, page.window.fbq], [[], undefined]);
  const [{ pixel, events }] = page.postsTo(CONFIG.collect);
  assert.equal(pixel, 'loaded');
  assert.deepEqual(handed(page), [
    { event: 'metapixel', event_name: 'PageView', event_id: events[0].event_id, custom_data: {} },
    {
      event: 'metapixel',
      event_name: 'ViewContent',
      event_id: events[1].event_id,
      custom_data: { value: 5, currency: 'EUR' },
    },
  ]);
});

test('a tag manager that is there is handed the events behind what it has, and its fbq is left alone', () => {
  const dataLayer = [{ event: 'gtm.js' }];
  const fbq = theirs();
  const page = new Page({ config: { data_layer: true }, window: { dataLayer, fbq } });
  assert.equal(page.window.dataLayer, dataLayer);
  assert.deepEqual(handed(page).map((one) => one.event), ['gtm.js', 'metapixel']);
  assert.deepEqual(page.calls, []);
});

test('an element that is called dataLayer is no tag manager', () => {
  const page = new Page({ config: { data_layer: true }, window: { dataLayer: { tagName: 'DIV' } } });
  assert.deepEqual(handed(page).map((one) => one.event_name), ['PageView']);
});

test('an event for two pixels is handed over once, one that no pixel wants not at all', () => {
  const both = { pixels: [{ id: PIXEL, events: ['PageView'] }, { id: OTHER, events: ['PageView'] }], data_layer: true };
  const page = new Page({ config: both, islands: [{ event: { event_name: 'ViewContent', custom_data: {} } }] });
  assert.deepEqual(handed(page).map((one) => one.event_name), ['PageView']);
});

test('nothing is handed to a tag manager without a grant, nor after a withdrawal', async () => {
  const page = new Page({ config: { data_layer: true, provider: 'cookie' } });
  assert.equal(page.window.dataLayer, undefined);
  page.window.metapixel.grant();
  await settle();
  assert.equal(handed(page).length, 1);
  await page.window.metapixel.revoke();
  page.window.metapixel.track('Contact');
  assert.equal(handed(page).length, 1);
});

test('a tag manager is told of limited data use with each event', () => {
  const page = new Page({ config: { data_layer: true, ldu: true } });
  assert.deepEqual(handed(page)[0].data_processing_options, ['LDU']);
});

test('a tag manager that throws is not noticed by the page, and the server still hears', async () => {
  const dataLayer = {
    push() {
      throw new Error('broken');
    },
  };
  const page = new Page({ config: { data_layer: true }, window: { dataLayer } });
  await page.pass(0);
  assert.equal(page.postsTo(CONFIG.collect).length, 1);
});

test('where meta_script.js is left out the server alone tells, and knows it', async () => {
  const page = new Page({ withoutMeta: true, islands: [{ event: { event_name: 'ViewContent', custom_data: {} } }] });
  await page.pass(0);
  assert.deepEqual([page.scripts, page.window.fbq], [[], undefined]);
  const [{ pixel, events }] = page.postsTo(CONFIG.collect);
  assert.deepEqual([pixel, events.length], ['failed', 2]);
  await page.window.metapixel.revoke();
});

test('meta_script.js may stand on the page twice', async () => {
  const page = new Page();
  page.run('meta_script.js');
  page.window.metapixel.track('Contact');
  await settle();
  assert.deepEqual([page.firedNames, page.scripts.length], [['PageView', 'Contact'], 1]);
});

test('a withdrawal right after the grant: the script of Meta is not loaded, and after another grant it is', async () => {
  const page = new Page();
  page.window.metapixel.revoke();
  await settle();
  assert.equal(page.scripts.length, 0);
  page.window.metapixel.grant();
  await settle();
  page.window.metapixel.scan();
  await settle();
  assert.equal(page.scripts.length, 1);
});

test('the script of Meta is asked for in a task of its own', async () => {
  const page = new Page();
  assert.deepEqual([page.scripts.length, page.firedNames], [0, ['PageView']]);
  await settle();
  assert.equal(page.scripts.length, 1);
});

test('what waits for the script of Meta is not told after a withdrawal', async () => {
  const page = new Page();
  assert.deepEqual(page.firedNames, ['PageView']);
  page.window.metapixel.revoke();
  assert.deepEqual([page.calls[0], page.firedNames], [['consent', 'revoke'], []]);
  assert.deepEqual(page.calls.slice(1).map(([verb]) => verb), ['set', 'init']);
});

test('... whatever else stands in its queue, and what the pixel needs later stays', () => {
  const page = new Page();
  const { fbq, metapixel } = page.window;
  const odd = [[], [undefined], [null], [5], [{}], [['set', 'x']], ['set', 'x'], ['init', OTHER]];
  odd.forEach((words) => fbq(...words));
  fbq.queue.push(['init', 'of an array']);
  [['track', 'Lead'], ['trackCustom', 'x'], ['trackSingle', OTHER, 'Lead'], [['track', 'Lead']], ['consent', 'grant']].forEach(
    (words) => fbq(...words)
  );
  metapixel.revoke();
  const [first, ...kept] = page.calls;
  const [off, init, ...rest] = kept;
  assert.deepEqual([first, off[0], init], [['consent', 'revoke'], 'set', ['init', PIXEL]]);
  assert.deepEqual(rest, plain([...odd, ['init', 'of an array']]));
});

test('who waits to be named hears of a withdrawal first, whatever became of the queue', () => {
  const heard = [];
  const page = new Page({ window: { metapixel: { matching: {
    begin: (config, init) => init(),
    keeps: () => false,
    isStale: () => false,
    hears: (word) => heard.push([word, page.firedNames]),
  } } } });
  page.window.metapixel.revoke();
  assert.deepEqual(heard, [['revoke', ['PageView']]]);
});

test('once the script of Meta is there, it is told of a withdrawal', async () => {
  const page = new Page();
  const told = [];
  page.window.fbq.callMethod = (...words) => told.push(words);
  page.window.metapixel.revoke();
  assert.deepEqual(plain(told), [['consent', 'revoke']]);
});

// Where the owner stated that nobody has to opt in: loaded before the answer, and told to wait.
const FILES = ['consent_cookie.js', 'first_party_cookies.js', 'meta_script.js', 'page_swaps.js', 'metapixel.js'];
const early = (options = {}) =>
  new Page({ scripts: FILES, ...options, config: { provider: 'cookie', early: true, ...options.config } });

test('an early script of Meta is told to wait, and of no pixel', () => {
  const page = early();
  assert.deepEqual(page.scripts.map((script) => script.src), [CONFIG.script]);
  assert.deepEqual(page.calls, [['consent', 'revoke']]);
  assert.equal(page.jar.get('_fbp'), null);
});

test('a grant lets the early script of Meta go on, without a second one', async () => {
  const page = early();
  page.answers[CONFIG.consent] = () => ({ status: 204 });
  await page.window.metapixel.grant();
  await page.pass(0);
  assert.equal(page.scripts.length, 1);
  assert.deepEqual(page.calls.map(([verb]) => verb), ['consent', 'consent', 'set', 'init', 'trackSingle']);
  assert.deepEqual(page.calls[1], ['consent', 'grant']);
});

for (const [fate, word] of [['onload', 'loaded'], ['onerror', 'failed']]) {
  test(`what became of the early script of Meta is known after the grant: ${word}`, async () => {
    const page = early();
    page.scripts[0][fate]();
    page.answers[CONFIG.consent] = () => ({ status: 204 });
    await page.window.metapixel.grant();
    await page.pass(0);
    assert.equal(page.postsTo(CONFIG.collect)[0].pixel, word);
  });
}

for (const [who, options] of Object.entries({
  'a visitor who refused': { cookies: 'metapixel_consent=denied' },
  'staff': { cookies: 'metapixel_off=' },
  'a browser with Global Privacy Control': { navigator: { globalPrivacyControl: true } },
})) {
  test(`nothing is loaded early for ${who}`, () => {
    assert.deepEqual(early(options).scripts, []);
  });
}

for (const [who, cookies, loaded] of [
  ['a no that the tool has not read yet', 'metapixel_consent=denied.untold', 0],
  ['staff', 'a=b; metapixel_off', 0],
  ['a cookie with a name like it', 'metapixel_offer=1; metapixel_consent=granted.1', 1],
]) {
  test(`the cookies are asked before an early script, whatever the tool says: ${who}`, () => {
    const page = early({ cookies, window: { metapixel: { consent: tool('unknown') } } });
    assert.deepEqual([page.scripts.length, Boolean(page.window.fbq)], [loaded, Boolean(loaded)]);
  });
}

for (const said of ['granted', 'denied', 'yes', undefined]) {
  test(`a tool that says ${said} has nothing loaded early`, () => {
    const scripts = ['meta_script.js'];
    assert.deepEqual(early({ scripts, window: { metapixel: { consent: tool(said) } } }).scripts, []);
  });
}

test('a prerendered page loads nothing early until somebody looks at it, and asks then', async () => {
  for (const [cookies, loaded] of [['', 1], ['metapixel_consent=denied', 0]]) {
    const page = early({ prerendering: true });
    assert.deepEqual(page.scripts, []);
    if (cookies) page.jar.text = cookies;
    page.document.prerendering = false;
    await page.tell('prerenderingchange');
    assert.equal(page.scripts.length, loaded);
  }
});

test('an early script is loaded where the owner lets Global Privacy Control pass', () => {
  assert.equal(early({ navigator: { globalPrivacyControl: true }, config: { gpc: false } }).scripts.length, 1);
});

test('beside the pixel of somebody else nothing is loaded early, and nothing is told to it', () => {
  const fbq = theirs();
  const page = early({ window: { fbq } });
  assert.deepEqual([page.scripts, fbq.queue], [[], []]);
});

test('a second withdrawal is the last word, before the script of Meta has come', async () => {
  const page = new Page();
  const { revoke, grant } = page.window.metapixel;
  page.answers[CONFIG.consent] = () => ({ status: 204 });
  await revoke();
  await grant();
  await revoke();
  assert.deepEqual(page.calls.filter(([verb]) => verb === 'consent'), [['consent', 'revoke']]);
});
