'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, base64url } = require('./browser.js');

const NEW = { event_name: 'Search', custom_data: { search_string: 'boots' } };
const ECHO = { i: 'e1', n: 'AddToCart', p: {}, t: 1795322600, x: [PIXEL] };
const HEADER = { 'metapixel-echo': base64url([ECHO]) };
const URL_ = 'https://www.example.com/cart/add/';
const leaveCookie = (page) => (page.jar.text = `metapixel_e_12345678=${base64url(ECHO)}`);

// What htmx 1.9 and 2 tell about a request that has ended.
const htmx2 = ({ headers = {}, url = URL_, path = '/cart/add/', verb = 'post' }) => ({
  detail: {
    xhr: { responseURL: url, getResponseHeader: (name) => headers[name.toLowerCase()] || null },
    pathInfo: { requestPath: path, finalRequestPath: path },
    requestConfig: { verb },
  },
});
const htmx4 = ({ headers = {}, url = URL_, redirected = false }) => {
  const raw = { url, redirected, headers: new Headers(headers) };
  return { detail: { ctx: { response: { raw, status: 200, headers: raw.headers } } } };
};
const turbo = ({ headers = {}, url = URL_, redirected = false }) => ({
  detail: { fetchResponse: { response: { url, redirected, headers: new Headers(headers) } } },
});

const DIALECTS = [
  ['htmx 2', 'htmx:afterRequest', htmx2],
  ['htmx 4', 'htmx:after:request', htmx4],
  ['Turbo', 'turbo:before-fetch-response', turbo],
];

for (const [who, name, event] of DIALECTS) {
  test(`${who}: the header of an answer is fired`, async () => {
    const page = new Page();
    await page.tell(name, event({ headers: HEADER }));
    assert.deepEqual(page.firedNames, ['PageView', 'AddToCart']);
  });

  test(`${who}: an answer of another origin is not listened to`, async () => {
    const page = new Page();
    leaveCookie(page);
    await page.tell(name, event({ headers: HEADER, url: 'https://evil.example/', redirected: true }));
    assert.deepEqual(page.firedNames, ['PageView']);
  });

  test(`${who}: a redirected request takes the cookies`, async () => {
    const page = new Page();
    leaveCookie(page);
    await page.tell(name, event({ url: 'https://www.example.com/cart/', redirected: true, verb: 'get' }));
    assert.deepEqual([page.firedNames, page.jar.get('metapixel_e_12345678')], [['PageView', 'AddToCart'], null]);
  });

  test(`${who}: a plain GET leaves the cookies to the tab they are for`, async () => {
    const page = new Page();
    leaveCookie(page);
    await page.tell(name, event({ verb: 'get' }));
    assert.deepEqual(page.firedNames, ['PageView']);
    assert.notEqual(page.jar.get('metapixel_e_12345678'), null);
  });

  test(`${who}: an event of an unknown shape is not noticed by the page`, async () => {
    const page = new Page();
    for (const odd of [{}, { detail: null }, { detail: {} }]) await page.tell(name, odd);
    assert.deepEqual(page.firedNames, ['PageView']);
  });
}

for (const [who, name, event] of DIALECTS.slice(0, 2)) {
  test(`${who}: a page about to be left leaves the cookies to the next one`, async () => {
    for (const header of ['hx-redirect', 'hx-refresh']) {
      const page = new Page();
      leaveCookie(page);
      await page.tell(name, event({ headers: { [header]: 'true' }, redirected: true }));
      assert.notEqual(page.jar.get('metapixel_e_12345678'), null);
    }
  });

  test(`${who}: HX-Location does not load a page, so the cookies are taken`, async () => {
    const page = new Page();
    leaveCookie(page);
    await page.tell(name, event({ headers: { 'hx-location': '/cart/' }, verb: 'get' }));
    assert.deepEqual(page.firedNames, ['PageView', 'AddToCart']);
  });
}

test('htmx 2: a POST that was redirected to its own address takes the cookies', async () => {
  const page = new Page();
  leaveCookie(page);
  await page.tell('htmx:afterRequest', htmx2({}));
  assert.deepEqual(page.firedNames, ['PageView', 'AddToCart']);
});

test('htmx 2: headers of another origin are not even read', async () => {
  const page = new Page();
  const event = htmx2({ url: 'https://evil.example/' });
  const read = [];
  event.detail.xhr.getResponseHeader = (name) => read.push(name); // the browser would complain
  await page.tell('htmx:afterRequest', event);
  assert.deepEqual(read, []);
});

test('what Turbo shows from its cache meanwhile is not looked at', async () => {
  const page = new Page({ scripts: ['page_swaps.js', 'metapixel.js'] });
  const looked = [];
  Object.assign(page.window.metapixel, { flush: () => looked.push('flush'), scan: () => looked.push('scan') });
  page.window.document.documentElement.setAttribute('data-turbo-preview', '');
  await page.tell('turbo:before-fetch-response', turbo({}));
  assert.deepEqual(looked, []);
  await page.tell('turbo:load');
  assert.deepEqual([...looked].sort(), ['flush', 'scan']);
  await page.tell('turbo:load');
  assert.deepEqual(looked.filter((one) => one === 'flush'), ['flush']);
});

for (const name of ['htmx:afterSettle', 'htmx:after:settle', 'htmx:historyRestore', 'turbo:load', 'turbo:frame-load']) {
  test(`${name}: what is new on the page is told, and nothing else`, async () => {
    const page = new Page({ islands: [{ event: { event_name: 'ViewContent' } }] });
    await page.metaLoads();
    await page.tell(name);
    page.island({ event: NEW });
    await page.tell(name);
    await page.tell(name);
    assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'Search']);
    assert.deepEqual(page.postsTo(CONFIG.collect).map((body) => body.events.length), [2, 1]);
  });
}

test('a swap that renders the same declaration again tells nothing', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  page.elements.pop();
  page.island({ event: NEW });
  await page.tell('htmx:afterSettle');
  assert.deepEqual(page.firedNames, ['PageView', 'Search']);
});

test('a swap to another path is a new view', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  await page.metaLoads();
  page.elements.pop();
  page.island({ event: NEW });
  page.moveTo('/other/');
  await page.tell('turbo:load');
  assert.deepEqual(page.firedNames, ['PageView', 'Search', 'PageView', 'Search']);
  assert.deepEqual(page.postsTo(CONFIG.collect).map((body) => body.url), [
    'https://www.example.com/product/',
    'https://www.example.com/other/',
  ]);
});

test('an element that outlives its path is not told for the next one', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  page.moveTo('/other/');
  await page.tell('turbo:load');
  assert.deepEqual(page.firedNames, ['PageView', 'Search', 'PageView']);
});

test('an element that is given another declaration, as morphing does, is told', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  const element = page.elements[page.elements.length - 1];
  for (const path of ['/other/', '/other/', '/third/']) {
    page.moveTo(path);
    element.textContent = JSON.stringify({ event_name: 'ViewContent', custom_data: { content_ids: [path] } });
    await page.tell('turbo:load');
  }
  assert.deepEqual(page.firedNames, ['PageView', 'Search', 'PageView', 'ViewContent', 'PageView', 'ViewContent']);
});

test('a declaration that was rendered again before its path changed stays with its path', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  page.elements.pop();
  page.island({ event: NEW });
  await page.tell('htmx:afterSettle');
  page.moveTo('/other/');
  await page.tell('htmx:afterSettle');
  assert.deepEqual(page.firedNames, ['PageView', 'Search', 'PageView']);
});

test('a swap that changes only the query is the same view', async () => {
  const page = new Page({ islands: [{ event: NEW }] });
  page.moveTo('?page=2');
  await page.tell('htmx:afterSettle');
  assert.deepEqual(page.firedNames, ['PageView', 'Search']);
});

test('the file may stand on the page twice, and alone', async () => {
  const page = new Page();
  page.run('page_swaps.js');
  let scans = 0;
  page.window.metapixel.scan = () => (scans += 1);
  await page.tell('turbo:load');
  assert.equal(scans, 1);
  await new Page({ scripts: ['page_swaps.js'] }).tell('turbo:load');
});
