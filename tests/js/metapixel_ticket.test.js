'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, settle, tool } = require('./browser.js');

const PURCHASE = { i: 'order', n: 'Purchase', p: { value: 20, currency: 'EUR' }, t: 1795322600, x: [PIXEL] };
const META = '_fbp=fb.1.1500000000000.99; _fbc=fb.1.1500000000000.AbC';

const thankYou = async (answer, options = {}) => {
  const page = new Page({ islands: [{ ticket: 'SIGNED' }], cookies: META, scripts: [], ...options });
  page.answers[CONFIG.ticket] = answer;
  ['first_party_cookies.js', 'metapixel.js'].forEach((name) => page.run(name));
  await settle();
  return page;
};
const asked = (page) => page.postsTo(CONFIG.ticket).length;

test('a ticket is posted with the cookies, and its event is fired', async () => {
  const page = await thankYou({ json: { event: PURCHASE } });
  assert.deepEqual(page.postsTo(CONFIG.ticket), [
    { ticket: 'SIGNED', fbp: 'fb.1.1500000000000.99', fbc: 'fb.1.1500000000000.AbC' },
  ]);
  assert.deepEqual(page.fired[1], ['trackSingle', PIXEL, 'Purchase', PURCHASE.p, { eventID: 'order' }]);
});

test('an order that is not paid yet is asked for at 2, 5, 10 and 20 seconds', async () => {
  const page = await thankYou({ json: { wait: true } });
  const times = [];
  for (let second = 1; second <= 60; second += 1) {
    const before = asked(page);
    await page.pass(1000);
    if (asked(page) > before) times.push(second);
  }
  assert.deepEqual([asked(page), times], [5, [2, 5, 10, 20]]);
});

test('the event comes with the payment', async () => {
  let paid = false;
  const page = await thankYou(() => ({ json: paid ? { event: PURCHASE } : { wait: true } }));
  await page.pass(2000);
  paid = true;
  await page.pass(3000);
  await page.pass(60000);
  assert.deepEqual([page.firedNames, asked(page)], [['PageView', 'Purchase'], 3]);
});

test('any other answer ends it', async () => {
  for (const answer of [{ status: 204 }, { status: 403 }, { status: 500 }, { json: null }, { json: {} }, { json: 'x' }]) {
    const page = await thankYou(answer);
    await page.pass(60000);
    assert.deepEqual([asked(page), page.firedNames], [1, ['PageView']]);
  }
});

test('a server that cannot be reached is asked once', async () => {
  const page = await thankYou(new Error('offline'));
  await page.pass(60000);
  assert.deepEqual([asked(page), page.firedNames], [1, ['PageView']]);
});

test('a ticket waits for consent', async () => {
  const consent = tool('unknown');
  const options = { config: { provider: 'other' }, window: { metapixel: { consent } } };
  const page = await thankYou({ json: { event: PURCHASE } }, options);
  await page.pass(60000);
  assert.equal(asked(page), 0);
  consent.say('granted');
  await settle();
  assert.deepEqual(page.firedNames, ['PageView', 'Purchase']);
});

test('a withdrawal ends the asking', async () => {
  const page = await thankYou({ json: { wait: true } });
  page.window.metapixel.revoke();
  await page.pass(60000);
  assert.equal(asked(page), 1);
});

test('a broken ticket is not posted', async () => {
  const page = new Page({ scripts: [] });
  page.add('script', { 'data-metapixel-ticket': '' }, '"SIGNED');
  page.run('metapixel.js');
  await page.pass(60000);
  assert.deepEqual([asked(page), page.firedNames], [0, ['PageView']]);
});
