'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, base64url, settle, tool } = require('./browser.js');

const NOW = 1795322685;
const echo = (i, more = {}) => ({ i, n: 'AddToCart', p: { value: 5, content_name: 'Łódź </script>' }, t: NOW - 5, x: [PIXEL], ...more });
const cookie = (name, value) => `metapixel_e_${name}=${base64url(value)}`;
const actions = (page) => page.fired.filter((call) => call[2] !== 'PageView');
const ids = (page) => actions(page).map((call) => call[4].eventID);
const response = (events, more = {}) => ({
  url: 'https://www.example.com/cart/add/',
  redirected: false,
  headers: new Headers(events ? { 'Metapixel-Echo': base64url(events) } : {}),
  ...more,
});

test('a cookie is fired with the id of the server and deleted', () => {
  const page = new Page({ cookies: `a=b; ${cookie('12345678', echo('e1'))}` });
  assert.deepEqual(actions(page), [
    ['trackSingle', PIXEL, 'AddToCart', { value: 5, content_name: 'Łódź </script>' }, { eventID: 'e1' }],
  ]);
  assert.equal(page.jar.get('metapixel_e_12345678'), null);
  assert.equal(page.jar.get('a'), 'b');
});

test('an echo is not posted to collect: the server has it already', async () => {
  const page = new Page({ config: { page_view: false }, cookies: cookie('12345678', echo('e1')) });
  await page.metaLoads();
  assert.deepEqual(page.posts, []);
});

test('an event without parameters is fired with none', () => {
  const page = new Page({ cookies: cookie('12345678', echo('e1', { p: undefined })) });
  assert.deepEqual(actions(page)[0][3], {});
});

test('malformed cookies are deleted and cost their neighbours nothing', () => {
  const bad = ['', '%%%', 'e30', 'bnVsbA', 'W10', 'eyJpIjo1fQ', base64url('text'), base64url(7), base64url(echo(5)), 'w6k'];
  const cookies = bad.map((value, at) => `metapixel_e_bad0000${at}=${value}`);
  const page = new Page({ cookies: [...cookies, cookie('12345678', echo('e1'))].join('; ') });
  assert.deepEqual(ids(page), ['e1']);
  assert.equal(page.jar.text.includes('metapixel_e_'), false);
});

test('an event of yesterday, or without a time, is not fired', () => {
  const page = new Page({
    cookies: [
      cookie('00000001', echo('old', { t: NOW - 86401 })),
      cookie('00000002', echo('none', { t: undefined })),
      cookie('00000003', echo('fresh', { t: NOW - 86000 })),
    ].join('; '),
  });
  assert.deepEqual(ids(page), ['fresh']);
});

test('an event is fired for the pixels it names, and of those only for the ones of this page', () => {
  const config = { pixels: [{ id: PIXEL, events: null }, { id: '22222', events: ['Lead'] }] };
  const cookies = [
    cookie('00000001', echo('both', { x: [PIXEL, '22222'] })),
    cookie('00000002', echo('second', { x: ['22222'] })),
    cookie('00000003', echo('foreign', { x: ['33333'] })),
    cookie('00000004', echo('nobody', { x: undefined })),
  ].join('; ');
  const page = new Page({ config, cookies });
  assert.deepEqual(actions(page).map((call) => [call[1], call[4].eventID]), [
    [PIXEL, 'both'],
    ['22222', 'both'],
    ['22222', 'second'],
  ]);
});

test('an event that did not fit is fetched by its id', async () => {
  const page = new Page({ cookies: [cookie('00000001', { i: 'big' }), cookie('00000002', { i: 'large' })].join('; ') , scripts: [] });
  page.answers[CONFIG.echo] = { json: { events: [echo('big'), echo('large')] } };
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  await settle();
  assert.deepEqual(page.postsTo(CONFIG.echo), [{ ids: ['big', 'large'] }]);
  assert.deepEqual(ids(page), ['big', 'large']);
});

test('an answer without the event is not asked for again', async () => {
  for (const json of [{ events: [{ i: 'big' }] }, { events: null }, {}, null, []]) {
    const page = new Page({ scripts: [], cookies: cookie('00000001', { i: 'big' }) });
    page.answers[CONFIG.echo] = { json };
    page.run('metapixel.js');
    await page.pass(60000);
    assert.deepEqual([page.postsTo(CONFIG.echo).length, ids(page)], [1, []]);
  }
});

test('an event that arrives after a withdrawal is not fired', async () => {
  const page = new Page({ scripts: [], cookies: cookie('00000001', { i: 'big' }) });
  page.answers[CONFIG.echo] = () => {
    page.window.metapixel.revoke();
    return { json: { events: [echo('big')] } };
  };
  page.run('metapixel.js');
  await settle();
  assert.deepEqual(ids(page), []);
});

test('flush() fires what the header of an answer holds', () => {
  const page = new Page();
  page.window.metapixel.flush(response([echo('e1'), echo('e2')]));
  assert.deepEqual(ids(page), ['e1', 'e2']);
});

test('each event is fired at most once per page, whichever way it comes', () => {
  const page = new Page({ cookies: cookie('12345678', echo('e1')) });
  page.window.metapixel.flush(response([echo('e1')]));
  page.window.metapixel.flush(response([echo('e1'), echo('e1')]));
  assert.deepEqual(ids(page), ['e1']);
});

test('flush() takes the cookies of an answer that was redirected, and only of such', () => {
  const page = new Page();
  page.jar.text = cookie('12345678', echo('e1'));
  page.window.metapixel.flush(response());
  assert.deepEqual(ids(page), []);
  page.window.metapixel.flush(response(null, { redirected: true }));
  assert.deepEqual([ids(page), page.jar.get('metapixel_e_12345678')], [['e1'], null]);
});

test('an answer of another origin is not listened to', () => {
  const page = new Page();
  page.window.metapixel.flush(response([echo('e1')], { url: 'https://evil.example.com/' }));
  page.window.metapixel.flush(response([echo('e1')], { url: 'http://www.example.com/' }));
  assert.deepEqual(ids(page), []);
});

test('an answer made by a service worker, without an address, is one of ours', () => {
  const page = new Page();
  page.window.metapixel.flush(response([echo('e1')], { url: '' }));
  assert.deepEqual(ids(page), ['e1']);
});

test('flush() of anything else is not noticed by the page', () => {
  const page = new Page();
  [undefined, null, {}, 'text', { url: '', headers: new Headers({ 'Metapixel-Echo': '%' }) }].forEach(page.window.metapixel.flush);
  assert.deepEqual(ids(page), []);
});

test('without consent a header is not fired', () => {
  const consent = tool('denied');
  const page = new Page({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  page.window.metapixel.flush(response([echo('e1')]));
  consent.say('granted');
  assert.deepEqual(ids(page), []);
});

test('a page from the back/forward cache takes the cookies that were left', async () => {
  const page = new Page();
  await page.leave();
  page.jar.text = cookie('12345678', echo('e1'));
  await page.comeBack();
  assert.deepEqual(ids(page), ['e1']);
});

test('a cookie is deleted where it was set: for the host, or for the domain of all cookies', () => {
  for (const config of [{}, { domain: 'example.com' }]) {
    const page = new Page({ scripts: [], config: { page_view: false, ...config } });
    page.jar.text = `${cookie('12345678', echo('e1'))}; Path=/`;
    if (config.domain) page.jar.text = `${cookie('23456789', echo('e2'))}; Path=/; Domain=example.com`;
    page.jar.text = 'a=b; Path=/; Domain=example.com';
    page.run('metapixel.js');
    assert.deepEqual(ids(page), config.domain ? ['e1', 'e2'] : ['e1']);
    assert.equal(page.jar.text, 'a=b');
  }
});
