'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, Page, tool } = require('./browser.js');

const LIMIT = 8192;
const LONG = 'https://www.example.com/' + 'p'.repeat(40) + '/';
const bytes = (value) => Buffer.byteLength(JSON.stringify(value));
const declared = (at, length) => ({ event: { event_name: `Event${at}`, custom_data: { content_name: 'ü'.repeat(length / 2) } } });

const posted = async (options) => {
  const page = new Page(options);
  await page.metaLoads();
  const bodies = page.postsTo(CONFIG.collect);
  return { page, bodies, ids: bodies.flatMap((body) => body.events.map((event) => event.event_id)) };
};
const firedIds = (page) => page.fired.map((call) => call[4].eventID);

test('no post has more than 20 events, and none is lost or out of order', async () => {
  const islands = Array.from({ length: 44 }, (_, at) => ({ event: { event_name: `Event${at}` } }));
  const { page, bodies, ids } = await posted({ islands });
  bodies.forEach((body) => assert.ok(body.events.length >= 1 && body.events.length <= 20));
  bodies.forEach((body) => assert.equal(body.url, page.location.href));
  assert.deepEqual(ids, firedIds(page));
});

test('twenty events are one post', async () => {
  const islands = Array.from({ length: 19 }, (_, at) => ({ event: { event_name: `Event${at}` } }));
  assert.equal((await posted({ islands })).bodies.length, 1);
});

test('no post is longer than 8 kB of UTF-8, whatever it carries', async () => {
  const islands = [4000, 3000, 10, 3900, 2000, 2000, 2000, 10].map((length, at) => declared(at, length));
  const options = {
    url: `${LONG}?q=${'x'.repeat(3000)}&fbclid=${'A'.repeat(500)}`,
    referrer: `${LONG}?${'y'.repeat(3000)}`,
    islands,
  };
  const { page, bodies, ids } = await posted(options);
  assert.ok(bodies.length > 1);
  bodies.forEach((body) => assert.ok(bytes(body) <= LIMIT, `${bytes(body)} bytes`));
  assert.deepEqual(ids, firedIds(page));
});

test('what just fits is one post, and one byte more is two', async () => {
  const length = async (filler) => {
    const islands = [declared(0, 3000), { event: { event_name: 'Event1', custom_data: { content_name: 'x'.repeat(filler) } } }];
    return (await posted({ islands })).bodies;
  };
  const [one] = await length(0);
  const room = LIMIT - bytes(one);
  assert.deepEqual((await length(room)).map(bytes), [LIMIT]);
  assert.equal((await length(room + 1)).length, 2);
});

test('an event that cannot fit alone is dropped from the post, and the others are not', async () => {
  const islands = [declared(0, 100), declared(1, 9000), declared(2, 100)];
  const { page, bodies, ids } = await posted({ islands });
  const [view, first, , last] = firedIds(page);
  assert.deepEqual(ids, [view, first, last]);
  bodies.forEach((body) => assert.ok(bytes(body) <= LIMIT));
});

test('a declaration of 4 kB fits beside addresses of any length', async () => {
  const text = JSON.stringify({ event_name: 'ViewContent', custom_data: { content_ids: Array(334).fill('sku-12345') } });
  const { bodies } = await posted({
    url: `${LONG}?fbclid=${'A'.repeat(500)}&${'x'.repeat(9000)}`,
    referrer: `https://elsewhere.example/${'y'.repeat(9000)}`,
    islands: [{ text, signature: 's'.repeat(60) }],
  });
  assert.ok(text.length > 4000 && text.length <= 4096);
  assert.equal(bodies.flatMap((body) => body.events).filter((event) => event.declaration === text).length, 1);
});

test('a beacon is split as well', async () => {
  const page = new Page({ islands: [declared(0, 4000), declared(1, 4000)] });
  await page.leave();
  assert.ok(page.beacons.length > 1);
  assert.deepEqual(page.beacons.flatMap(({ body }) => body.events.map((event) => event.event_id)), firedIds(page));
  page.beacons.forEach(({ body }) => assert.ok(bytes(body) <= LIMIT));
});

test('an ordinary address is posted as it is', async () => {
  const url = `${LONG}?q=${'x'.repeat(900)}#part`;
  const { bodies: [body] } = await posted({ url, referrer: url });
  assert.deepEqual([body.url, body.referrer], [url, url]);
});

for (const [query, told] of [
  [`?fbclid=AbC-1_2&x=${'x'.repeat(2000)}`, '?fbclid=AbC-1_2'],
  [`?x=${'x'.repeat(2000)}&fbclid=AbC-1_2#part`, '?fbclid=AbC-1_2'],
  [`?x=${'x'.repeat(2000)}&myfbclid=AbC`, '?'],
]) {
  test(`of the long query ${query.slice(0, 12)}… the click id is kept: ${told}`, async () => {
    const { bodies: [body] } = await posted({ url: LONG + query });
    assert.equal(body.url, LONG + told);
  });
}

test('a long path is cut', async () => {
  const { bodies: [body] } = await posted({ url: LONG + 'x'.repeat(3000) });
  assert.equal(body.url, (LONG + 'x'.repeat(3000)).slice(0, 1024));
});

test('a post that failed is not posted again: it may have arrived while the page went', async () => {
  const page = new Page();
  page.answers[CONFIG.collect] = new TypeError('Failed to fetch');
  await page.metaLoads();
  assert.equal(page.posts.length, 1);
});

test('an app that waits for an answer holds its newest fifty views', async () => {
  let answer = 'unknown';
  const consent = { read: () => answer, watch: () => {}, choose: null };
  const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  for (let view = 1; view < 60; view += 1) {
    page.location.pathname = `/p/${view}/`;
    page.location.href = `https://www.example.com/p/${view}/`;
    page.window.metapixel.scan();
  }
  answer = 'granted';
  page.window.metapixel.scan();
  await page.metaLoads();
  const urls = page.postsTo(CONFIG.collect).map(({ url }) => url);
  assert.deepEqual([urls.length, urls[0], urls[49]], [50, 'https://www.example.com/p/10/', 'https://www.example.com/p/59/']);
});

test('an answer that is a refusal is not posted again', async () => {
  for (const status of [400, 403, 429, 500]) {
    const page = new Page();
    page.answers[CONFIG.collect] = { status };
    await page.metaLoads();
    assert.equal(page.posts.length, 1);
  }
});

for (const wait of ['for consent', "for Meta's script"]) {
  test(`a view and the clicks on it that wait ${wait} are one post`, async () => {
    const consent = tool(wait === 'for consent' ? 'unknown' : 'granted');
    const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
    for (let click = 0; click < 3; click += 1) page.window.metapixel.track('Contact');
    consent.say('granted');
    await page.metaLoads();
    const [{ events }, ...more] = page.postsTo(CONFIG.collect);
    assert.deepEqual(events.map((event) => event.event_name), ['PageView', 'Contact', 'Contact', 'Contact']);
    assert.deepEqual([events.map((event) => event.event_id), more], [firedIds(page), []]);
  });
}

test('clicks that wait together are split as a view is', async () => {
  const page = new Page();
  for (let click = 0; click < 44; click += 1) page.window.metapixel.track('Contact');
  await page.metaLoads();
  const bodies = page.postsTo(CONFIG.collect);
  bodies.forEach(({ events }) => assert.ok(events.length <= 20));
  assert.deepEqual(bodies.flatMap(({ events }) => events.map((event) => event.event_id)), firedIds(page));
});
