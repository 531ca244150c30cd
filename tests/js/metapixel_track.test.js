'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, STATIC, base64url, plain, settle, tool } = require('./browser.js');

const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const HOTLINE = { content_name: 'Hotline', content_category: 'Help' };
const QUIET = { config: { page_view: false } };

const told = async (...words) => {
  const page = new Page(QUIET);
  page.window.metapixel.track(...words);
  await page.pass(2000);
  const [body] = page.postsTo(CONFIG.collect);
  return { page, fired: page.fired, posted: body && body.events };
};

// ---- track()

test('an event of the page is fired and posted, with one id', async () => {
  const { fired, posted } = await told('Contact', HOTLINE);
  const [[verb, id, name, params, { eventID }]] = fired;
  assert.deepEqual([verb, id, name, params], ['trackSingle', PIXEL, 'Contact', HOTLINE]);
  assert.match(eventID, UUID4);
  assert.deepEqual(posted, [{ event_name: 'Contact', event_id: eventID, custom_data: HOTLINE }]);
});

test('parameters are optional', async () => {
  for (const params of [undefined, null, {}]) {
    const { fired, posted } = await told('FindLocation', params);
    assert.deepEqual([fired[0][3], posted[0].custom_data], [{}, {}]);
  }
});

// What the collect endpoint takes without a signature.
const unsigned = () => {
  const views = fs.readFileSync(path.join(STATIC, '..', '..', 'views.py'), 'utf8');
  const [, names] = views.match(/^UNSIGNED = frozenset\(\{([^}]*)\}\)/m);
  return [...names.matchAll(/"(\w+)"/g)].map(([, name]) => name);
};

test('the names that the server takes unsigned are taken, and each call is an event', async () => {
  const page = new Page(QUIET);
  const names = [...unsigned(), 'Contact'];
  assert.equal(names.length, 5);
  names.forEach((name) => page.window.metapixel.track(name));
  await page.pass(2000);
  assert.deepEqual(page.firedNames, names);
  assert.equal(new Set(page.fired.map((call) => call[4].eventID)).size, names.length);
  assert.deepEqual(page.infos, []);
});

for (const name of ['Purchase', 'AddToCart', 'Lead', 'Schedule', 'ViewContent', 'Search', 'SizeGuide', 'contact', '', undefined, null, {}]) {
  test(`${JSON.stringify(name)} is refused, and the console says what to do`, async () => {
    const { page, fired, posted } = await told(name, { value: 20, currency: 'EUR' });
    assert.deepEqual([fired, posted], [[], undefined]);
    assert.equal(page.infos.length, 1);
    assert.match(page.infos[0], /track\(\) it on the server/);
  });
}

test('only the two texts are taken, and the console names the others, without their values', async () => {
  const params = { ...HOTLINE, value: 3, currency: 'EUR', content_names: 'x', __proto__: null };
  const { page, fired, posted } = await told('Contact', params);
  assert.deepEqual([fired[0][3], posted[0].custom_data], [HOTLINE, HOTLINE]);
  assert.deepEqual(page.infos.map((info) => info.split(' ')[1]), ['value', 'currency', 'content_names']);
});

test('what is no text, is empty, or might be an address of somebody is left out', async () => {
  for (const value of [5, null, true, {}, ['Hotline'], '', ' \n ', 'jana@example.com']) {
    const { page, fired, posted } = await told('Contact', { content_name: value });
    assert.deepEqual([fired[0][3], posted[0].custom_data, page.infos.length], [{}, {}, 1]);
    assert.doesNotMatch(page.infos[0], /jana/);
  }
});

for (const [text, kept] of [
  ['  Hotline\n', 'Hotline'],
  ['two\r\n\tlines', 'two lines'],
  ['a\u2028b\u0085c\u0000d\u001ce', 'a b c d e'],
  ['Zu\u0308rich', 'Z\u00fcrich'],
  ['می\u200cخواهم', 'می\u200cخواهم'],
  ['\ud83d broken \udc4d', 'broken'],
  ['Hot\u00adline\u200e', 'Hot line'],
  ['\ufeffx\u00a0', 'x'],
  ['x'.repeat(100) + 'y', 'x'.repeat(100)],
  ['👍'.repeat(101), '👍'.repeat(100)],
  ['x' + '👍'.repeat(600), 'x' + '👍'.repeat(99)], // cut within a character, and far behind the end
  [' '.repeat(1000) + 'x', undefined],
  ['x'.repeat(99) + ' y', 'x'.repeat(99)],
]) {
  test(`the text ${JSON.stringify(text).slice(0, 40)} is told as the server will tell it`, async () => {
    const { fired, posted } = await told('Contact', { content_name: text });
    assert.deepEqual([fired[0][3].content_name, posted[0].custom_data.content_name], [kept, kept]);
    const again = await told('Contact', { content_name: kept });
    assert.equal(again.fired[0][3].content_name, kept);
  });
}

test('an event waits for consent, and goes with the page it was told on', async () => {
  const consent = tool('unknown');
  const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  page.window.metapixel.track('Contact');
  await page.pass(5000);
  assert.deepEqual([page.scripts, page.posts], [[], []]);
  page.moveTo('/other/');
  consent.say('granted');
  await page.metaLoads();
  assert.deepEqual(page.firedNames, ['PageView', 'Contact', 'PageView']);
  assert.deepEqual(page.postsTo(CONFIG.collect).map(({ url, events }) => [new URL(url).pathname, events.length]), [
    ['/product/', 2],
    ['/other/', 1],
  ]);
});

test('an event that meets a denial is dropped for good', async () => {
  const consent = tool('denied');
  const page = new Page({ config: { provider: 'other', page_view: false }, window: { metapixel: { consent } } });
  page.window.metapixel.track('Contact');
  consent.say('granted');
  await page.pass(5000);
  assert.deepEqual([page.fired, page.posts], [[], []]);
});

test('an event tells nothing else: a path that changed meanwhile is not a view yet', () => {
  const page = new Page();
  page.moveTo('/other/');
  page.window.metapixel.track('Contact');
  assert.deepEqual(page.firedNames, ['PageView', 'Contact']);
});

test('an event on a page that is left at once is posted by beacon', async () => {
  const page = new Page(QUIET);
  page.window.metapixel.track('Contact');
  await page.leave();
  assert.deepEqual(page.beacons.map(({ body }) => body.events[0].event_name), ['Contact']);
});

test('an event on a page whose script has loaded is posted at once, and outlives the page', async () => {
  const page = new Page();
  await page.metaLoads();
  page.window.metapixel.track('Contact');
  await settle();
  const last = page.posts[page.posts.length - 1];
  assert.deepEqual([last.body.events[0].event_name, last.request.keepalive], ['Contact', true]);
});

test('an event of a click that leaves the page goes with the page', async () => {
  const page = new Page();
  await page.metaLoads();
  page.window.metapixel.track('Contact');
  await page.leave();
  assert.deepEqual(page.postsTo(CONFIG.collect)[1].events.map((event) => event.event_name), ['Contact']);
  assert.deepEqual([page.posts[1].request.keepalive, page.beacons], [true, []]);
});

test("an event told by the page's own listener to its end is posted, where no task will follow", async () => {
  const page = new Page();
  await page.metaLoads();
  page.window.addEventListener('pagehide', () => page.window.metapixel.track('Contact'));
  page.windowListeners.dispatch('pagehide', {});
  assert.equal(page.postsTo(CONFIG.collect).length, 2);
});

test('an event and a withdrawal in one task: after another grant the page view is not told again', async () => {
  const page = new Page({ config: { provider: 'function' } });
  page.window.metapixel.grant();
  await page.metaLoads();
  page.window.metapixel.track('Contact');
  page.window.metapixel.revoke();
  await settle();
  page.window.metapixel.grant();
  await page.pass(5000);
  const told = page.postsTo(CONFIG.collect).flatMap(({ events }) => events.map((event) => event.event_name));
  assert.deepEqual(told, ['PageView', 'Contact']);
});

test('an event of a page that is being prerendered waits until somebody looks', async () => {
  const page = new Page({ prerendering: true });
  page.window.metapixel.track('FindLocation');
  await page.pass(5000);
  assert.deepEqual([page.fired, page.posts], [[], []]);
  page.document.prerendering = false;
  await page.tell('prerenderingchange');
  assert.deepEqual(page.firedNames, ['PageView', 'FindLocation']);
});

test('where the package is switched off nothing is told and nobody called', async () => {
  for (const options of [{ config: null }, { cookies: 'metapixel_off=' }, { navigator: { globalPrivacyControl: true } }]) {
    const page = new Page(options);
    page.window.metapixel.on('event', () => assert.fail());
    page.window.metapixel.track('Contact', HOTLINE);
    await page.pass(5000);
    await page.leave();
    assert.deepEqual([page.scripts, page.posts, page.beacons], [[], [], []]);
  }
});

test('track returns nothing, and a hostile parameter object is not noticed by the page', () => {
  const page = new Page(QUIET);
  const hostile = { get content_name() { throw new Error('broken'); } };
  for (const params of [undefined, hostile, 'text', 5, [1]]) {
    assert.equal(page.window.metapixel.track('Contact', params), undefined);
  }
});

test('what is fired and posted is a copy of the caller\'s object', async () => {
  const page = new Page(QUIET);
  const params = { content_name: 'Hotline' };
  page.window.metapixel.track('Contact', params);
  params.content_name = 'changed';
  await page.pass(2000);
  assert.equal(page.fired[0][3].content_name, 'Hotline');
  assert.equal(page.postsTo(CONFIG.collect)[0].events[0].custom_data.content_name, 'Hotline');
});

// ---- on()

const listening = (page, name) => {
  const heard = [];
  const stop = page.window.metapixel.on(name, (detail) => heard.push(plain(detail)));
  return { heard, stop };
};

test('on("event") hears what is fired, with its id', () => {
  const page = new Page();
  const { heard } = listening(page, 'event');
  page.window.metapixel.track('Contact', HOTLINE);
  assert.deepEqual(heard, [{ event_name: 'Contact', event_id: page.fired[1][4].eventID, params: HOTLINE }]);
});

test('on("event") hears declared events and the echo, each once', () => {
  const page = new Page();
  const { heard } = listening(page, 'event');
  const echo = { i: 'e1', n: 'AddToCart', p: { value: 5, currency: 'EUR' }, t: 1795322685, x: [PIXEL] };
  const answer = { url: page.location.href, headers: { get: () => base64url([echo]) } };
  page.island({ event: { event_name: 'Search' } });
  page.window.metapixel.flush(answer);
  page.window.metapixel.flush(answer);
  assert.deepEqual(heard.map(({ event_name, params }) => [event_name, params]), [['Search', {}], ['AddToCart', echo.p]]);
});

test('on("event") hears it where no pixel sends from the browser', () => {
  const page = new Page({ config: { pixels: [{ id: PIXEL, events: [] }] } });
  const { heard } = listening(page, 'event');
  page.window.metapixel.track('Contact');
  assert.equal(heard.length, 1);
});

test('on("event") hears nothing before a grant', async () => {
  const consent = tool('unknown');
  const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  const { heard } = listening(page, 'event');
  page.window.metapixel.track('Contact');
  assert.deepEqual(heard, []);
  consent.say('granted');
  await settle();
  assert.deepEqual(heard.map((event) => event.event_name), ['PageView', 'Contact']);
});

test('on("consent") hears each change once', async () => {
  const consent = tool('unknown');
  const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  const { heard } = listening(page, 'consent');
  ['unknown', 'granted', 'granted', 'denied', 'granted'].forEach((state) => consent.say(state));
  await page.window.metapixel.revoke();
  assert.deepEqual(heard, ['granted', 'denied', 'granted', 'denied']);
});

test('on("consent") tells a late subscriber what is known already', () => {
  const page = new Page();
  assert.deepEqual(listening(page, 'consent').heard, ['granted']);
});

test('a subscription ends when it is ended, and others do not', () => {
  const page = new Page();
  const [one, other] = [listening(page, 'event'), listening(page, 'event')];
  one.stop();
  one.stop();
  page.window.metapixel.track('Contact');
  assert.deepEqual([one.heard.length, other.heard.length], [0, 1]);
});

test('a callback that throws, rejects, is no function, or changes what it is given does not matter', async () => {
  const page = new Page(QUIET);
  const { on, track } = page.window.metapixel;
  [
    () => { throw new Error('broken'); },
    () => Promise.reject(new Error('broken')),
    undefined,
    (event) => { event.params.content_name = event.event_id = 'changed'; },
  ].forEach((callback) => on('event', callback));
  const { heard } = listening(page, 'event');
  track('Contact', { content_name: 'Hotline' });
  await page.pass(2000);
  assert.deepEqual([heard.length, heard[0].params.content_name, page.fired[0][3].content_name], [1, 'Hotline', 'Hotline']);
  assert.equal(page.postsTo(CONFIG.collect)[0].events[0].custom_data.content_name, 'Hotline');
  await settle();
});

test('a callback may track', () => {
  const page = new Page();
  page.window.metapixel.on('event', ({ event_name }) => event_name === 'FindLocation' && page.window.metapixel.track('Contact'));
  page.window.metapixel.track('FindLocation');
  assert.deepEqual(page.firedNames, ['PageView', 'FindLocation', 'Contact']);
});

test('other names are never called', () => {
  const page = new Page();
  const { heard } = listening(page, 'events');
  page.window.metapixel.track('Contact');
  assert.deepEqual(heard, []);
});
