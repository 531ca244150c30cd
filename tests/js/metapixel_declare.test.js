'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, plain, settle, tool } = require('./browser.js');

const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const VIEW = { event_name: 'ViewContent', custom_data: { value: 12.5, currency: 'EUR', content_ids: ['sku-1'] } };
const SEARCH = { event_name: 'Search', custom_data: { search_string: '</script><!--' } };

const silent = (page) => {
  assert.deepEqual([page.scripts, page.posts, page.beacons, page.jar.writes], [[], [], [], []]);
  assert.equal(page.window.fbq, undefined);
};

test('a page view and the declared events are fired in document order', () => {
  const page = new Page({ islands: [{ event: VIEW }, { event: SEARCH, signature: 'OTHER' }] });
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'Search']);
  const [verb, id, , params, { eventID }] = page.fired[1];
  assert.deepEqual([verb, id, params], ['trackSingle', PIXEL, VIEW.custom_data]);
  assert.match(eventID, UUID4);
});

test('both copies of a view carry the same ids', async () => {
  const page = new Page({ islands: [{ event: VIEW }] });
  await page.metaLoads();
  const [body] = page.postsTo(CONFIG.collect);
  assert.deepEqual(body.events.map((event) => event.event_id), page.fired.map((call) => call[4].eventID));
  assert.equal(new Set(body.events.map((event) => event.event_id)).size, 2);
});

test('one post per view says where, who and what', async () => {
  const page = new Page({
    url: 'https://www.example.com/product/?color=red',
    referrer: 'https://www.example.com/',
    cookies: '_fbp=fb.1.1500000000000.99; _fbc=fb.1.1500000000000.AbC',
    islands: [{ event: VIEW }],
  });
  await page.metaLoads();
  const [{ events, ...body }, ...more] = page.postsTo(CONFIG.collect);
  assert.deepEqual(more, []);
  assert.deepEqual(body, {
    url: 'https://www.example.com/product/?color=red',
    referrer: 'https://www.example.com/',
    fbp: 'fb.1.1500000000000.99',
    fbc: 'fb.1.1500000000000.AbC',
    domain: 'example.com',
    pixel: 'loaded',
  });
  assert.deepEqual(Object.keys(events[0]).sort(), ['event_id', 'event_name']);
  assert.deepEqual(Object.keys(events[1]).sort(), ['declaration', 'event_id', 'signature']);
});

test('a declaration goes back byte for byte', async () => {
  const text = ' {"event_name":"ViewContent",\n "custom_data":{"content_name":"\\u003C/script\\u003E żółć \u2028"}} ';
  const page = new Page({ islands: [{ text, signature: 'a:b' }] });
  assert.equal(page.fired[1][3].content_name, '</script> żółć \u2028');
  await page.metaLoads();
  const { declaration, signature } = page.postsTo(CONFIG.collect)[0].events[1];
  assert.deepEqual([declaration, signature], [text, 'a:b']);
});

test('the request stays on this origin and outlives the page', async () => {
  const page = new Page();
  await page.metaLoads();
  assert.deepEqual(plain(page.posts[0].request), { method: 'POST', mode: 'same-origin', keepalive: true });
});

test('without page_view only declared events are told', () => {
  const page = new Page({ config: { page_view: false }, islands: [{ event: VIEW }] });
  assert.deepEqual(page.firedNames, ['ViewContent']);
});

test('a page with nothing to tell posts nothing', async () => {
  const page = new Page({ config: { page_view: false } });
  await page.pass(5000);
  assert.deepEqual(page.posts, []);
});

test('names that are not standard events are fired as custom events', () => {
  const page = new Page({ islands: [{ event: { event_name: 'SizeGuide', custom_data: {} } }] });
  assert.deepEqual(page.fired[1].slice(0, 3), ['trackSingleCustom', PIXEL, 'SizeGuide']);
});

test('all eighteen standard names are fired as standard events', () => {
  const names = (
    'PageView ViewContent Search AddToCart AddToWishlist InitiateCheckout AddPaymentInfo Purchase Lead ' +
    'CompleteRegistration Contact CustomizeProduct Donate FindLocation Schedule StartTrial SubmitApplication Subscribe'
  ).split(' ');
  const page = new Page({ config: { page_view: false }, islands: names.map((name) => ({ event: { event_name: name } })) });
  assert.deepEqual(page.fired.map((call) => [call[0], call[2]]), names.map((name) => ['trackSingle', name]));
});

test('a broken island costs its neighbours nothing', async () => {
  const page = new Page({ islands: [{ text: '{"event_name":' }, { text: 'null' }, { text: '' }, { event: VIEW }] });
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
  await page.metaLoads();
  assert.equal(page.postsTo(CONFIG.collect)[0].events.length, 2);
});

test('an attribute on anything but a script element declares nothing', () => {
  const page = new Page({ islands: [{ event: VIEW, tag: 'p' }] });
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('the same declaration twice on a page is one event', () => {
  const page = new Page({ islands: [{ event: VIEW }, { event: VIEW }] });
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
});

test('the file may stand on the page twice', async () => {
  const page = new Page({ islands: [{ event: VIEW }] });
  page.run('metapixel.js');
  await page.metaLoads();
  assert.deepEqual([page.firedNames, page.scripts.length, page.posts.length], [['PageView', 'ViewContent'], 1, 1]);
});

test('each view after a return from the back/forward cache is new', async () => {
  const page = new Page({ islands: [{ event: VIEW }] });
  await page.metaLoads();
  await page.leave();
  await page.comeBack();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'PageView', 'ViewContent']);
  const ids = page.postsTo(CONFIG.collect).flatMap((body) => body.events.map((event) => event.event_id));
  assert.equal(new Set(ids).size, 4);
});

test('a pageshow that is not a return tells nothing', async () => {
  const page = new Page();
  await page.tell('pageshow', { persisted: false }, page.windowListeners);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a post waits for the script of Meta', async () => {
  const page = new Page();
  await page.pass(1000);
  assert.deepEqual(page.posts, []);
  await page.metaLoads();
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'loaded');
});

test('a blocked script of Meta is reported and does not keep the post', async () => {
  const page = new Page();
  await settle();
  page.scripts[0].onerror();
  await settle();
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'failed');
});

test('after two seconds the post goes without an answer from Meta', async () => {
  const page = new Page();
  await page.pass(2000);
  assert.equal(page.postsTo(CONFIG.collect)[0].pixel, 'unknown');
  await page.metaLoads();
  assert.equal(page.posts.length, 1);
});

test('a page that is left posts by beacon, once', async () => {
  const page = new Page();
  await page.leave();
  assert.deepEqual([page.beacons.length, page.posts.length], [1, 0]);
  assert.deepEqual([page.beacons[0].url, page.beacons[0].body.pixel], [CONFIG.collect, 'unknown']);
});

test('a page that is put aside posts: it may never be seen again', async () => {
  const page = new Page();
  await page.tell('visibilitychange');
  assert.equal(page.beacons.length, 0);
  page.document.hidden = true;
  await page.tell('visibilitychange');
  assert.equal(page.beacons.length, 1);
});

test('Meta is told in a task of its own; what the next script tracks comes after the page\'s own events', () => {
  let early;
  const track = (api, page) => {
    api.track('Contact');
    early = page.window.fbq;
  };
  const page = new Page({ islands: [{ event: VIEW }], early: track });
  assert.deepEqual([early, page.firedNames], [undefined, ['PageView', 'ViewContent', 'Contact']]);
});

for (const name of ['visibilitychange', 'pagehide']) {
  test(`a page that is left by ${name} before that task has told all the same, once`, async () => {
    const leave = (api, { document, documentListeners, windowListeners }) => {
      document.hidden = true;
      (name === 'pagehide' ? windowListeners : documentListeners).dispatch(name, {});
    };
    const page = new Page({ islands: [{ event: VIEW }], early: leave });
    await page.pass(2000);
    const told = [page.beacons, page.posts].map((sent) => sent.map(({ body }) => body.events.length));
    assert.deepEqual([told, page.firedNames], [[[2], []], ['PageView', 'ViewContent']]);
  });
}

test('a page that is left by pagehide alone posts as well', async () => {
  const page = new Page();
  await page.tell('pagehide', {}, page.windowListeners);
  assert.equal(page.beacons.length, 1);
});

for (const [what, sendBeacon] of [
  ['missing', undefined],
  ['full', () => false],
  ['broken', () => { throw new Error('blocked'); }],
]) {
  test(`a beacon that is ${what} is replaced by a request`, async () => {
    const page = new Page({ navigator: { sendBeacon } });
    await page.leave();
    assert.equal(page.postsTo(CONFIG.collect).length, 1);
  });
}

test('a missing or failing fetch is not noticed by the page', async () => {
  for (const fetch of [undefined, () => { throw new Error('blocked'); }, () => Promise.reject(new Error('offline'))]) {
    const page = new Page({ window: { fetch } });
    await page.metaLoads();
    assert.deepEqual(page.firedNames, ['PageView']);
  }
});

test('ids are made without crypto, and without randomUUID', () => {
  const { getRandomValues } = globalThis.crypto;
  for (const crypto of [undefined, { getRandomValues: getRandomValues.bind(globalThis.crypto) }]) {
    const ids = [1, 2].map(() => new Page({ window: { crypto } }).fired[0][4].eventID);
    ids.forEach((id) => assert.match(id, UUID4));
    assert.notEqual(ids[0], ids[1]);
  }
});

test('no config island, no work', () => silent(new Page({ config: null })));
test('a broken config island, no work', () => {
  const page = new Page({ config: null, scripts: [] });
  page.add('script', { id: 'metapixel-config' }, '{"pixels":');
  page.run('metapixel.js');
  silent(page);
});
test('an element of another kind with the id of the config is not the config', () => {
  const page = new Page({ config: null, scripts: [] });
  page.add('div', { id: 'metapixel-config' }, JSON.stringify(CONFIG));
  page.run('metapixel.js');
  silent(page);
});
test('no consent tool chosen, no work', () => {
  silent(new Page({ config: { provider: '' }, window: { metapixel: { consent: tool('granted') } } }));
});
test('no address to post to, no work', () => silent(new Page({ config: { collect: '' } })));
test('no pixel, no work', () => silent(new Page({ config: { pixels: [] } })));
test('staff are left out', () => {
  for (const cookies of ['metapixel_off=', 'a=b; metapixel_off=1', 'metapixel_off=""; a=b']) silent(new Page({ cookies }));
});
test('a cookie that only looks like that of staff changes nothing', () => {
  const page = new Page({ cookies: 'metapixel_offer=1; not_metapixel_off=1' });
  assert.deepEqual(page.firedNames, ['PageView']);
});
test('Global Privacy Control is obeyed', () => silent(new Page({ navigator: { globalPrivacyControl: true } })));
test('Global Privacy Control is left aside where the site says so', () => {
  const page = new Page({ navigator: { globalPrivacyControl: true }, config: { gpc: false } });
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a prerendered page waits until it is looked at', async () => {
  const page = new Page({ prerendering: true });
  silent(page);
  await page.tell('prerenderingchange');
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('the public functions do nothing, quietly, where the package is switched off', async () => {
  const page = new Page({ config: null });
  const { grant, deny, revoke, flush, scan } = page.window.metapixel;
  [grant(), deny(), revoke(), flush(), flush({}), scan()].forEach((answer) => answer && answer.then());
  await settle();
  silent(page);
});

test('blocked storage is not noticed by the page', async () => {
  const page = new Page({ scripts: [], islands: [{ event: VIEW }] });
  page.jar.blocked = true;
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  await page.metaLoads();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
  const { fbp, fbc, domain } = page.postsTo(CONFIG.collect)[0];
  assert.deepEqual([fbp, fbc, domain], [null, null, null]);
});

test('without the cookie file the cookies are left to the script of Meta', async () => {
  const page = new Page({ scripts: ['metapixel.js'] });
  await page.metaLoads();
  assert.deepEqual(page.jar.writes, []);
  assert.equal('fbp' in page.postsTo(CONFIG.collect)[0], false);
});

test('whoever signs in to the admin in another tab is staff on this page too', async () => {
  const page = new Page();
  await page.metaLoads();
  page.jar.text = 'metapixel_off=; Path=/';
  page.window.metapixel.track('Contact');
  await page.comeBack();
  await page.pass(2000);
  assert.deepEqual([page.firedNames, page.posts.length], [['PageView'], 1]);
});
