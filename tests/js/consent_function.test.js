'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answer, mirror, open, say, withdrawals } = require('./consent_page.js');

const tell = (page) => say(page, 'metapixel:consent', page.documentListeners);
const says = (page, word) => (page.window.metapixelConsent = () => word);

test('what the function says counts, and is mirrored for the server', async () => {
  const page = open('function', { window: { metapixelConsent: () => 'granted' } });
  assert.deepEqual([answer(page), mirror(page), page.firedNames], ['granted', 'granted', ['PageView']]);
});

test('grant, change of mind', async () => {
  const page = open('function', { window: { metapixelConsent: () => 'unknown' } });
  assert.deepEqual([answer(page), mirror(page)], ['unknown', null]);
  says(page, 'granted');
  await tell(page);
  assert.deepEqual(page.firedNames, ['PageView']);
  says(page, 'denied');
  await tell(page);
  assert.deepEqual([answer(page), mirror(page), withdrawals(page)], ['denied', 'denied', 1]);
});

test('deny', () => {
  const page = open('function', { window: { metapixelConsent: () => 'denied' } });
  assert.deepEqual([answer(page), mirror(page), page.scripts], ['denied', 'denied', []]);
});

test('a function that comes late is asked when the page has loaded', async () => {
  const page = open('function');
  assert.equal(answer(page), 'unknown');
  says(page, 'granted');
  await page.tell('load', {}, page.windowListeners);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a function that never comes is unknown and leaves the mirror to its end', async () => {
  const page = open('function', { cookies: 'metapixel_choice=granted' });
  await tell(page);
  assert.deepEqual([answer(page), page.scripts, mirror(page)], ['unknown', [], 'granted']);
});

for (const said of [true, 'yes', 'Granted', null, undefined, 1, {}, Promise.resolve('granted')]) {
  test(`${String(said)} is no yes, and takes the mirror away`, async () => {
    const page = open('function', { cookies: 'metapixel_choice=granted', window: { metapixelConsent: () => said } });
    assert.deepEqual([answer(page), page.scripts, mirror(page)], ['unknown', [], null]);
  });
}

test('a function that throws is no yes', () => {
  const page = open('function', { window: { metapixelConsent: () => { throw new Error('x'); } } });
  assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
});

test('an adapter that stands there already is left alone', () => {
  const consent = { read: () => 'granted', watch: () => {} };
  const page = open('function', { window: { metapixel: { consent }, metapixelConsent: () => 'denied' } });
  assert.equal(answer(page), 'granted');
});

test('a page that remembers a yes does not outweigh a no told to another page', async () => {
  const page = open('function', { window: { metapixelConsent: () => 'granted' } });
  await page.metaLoads();
  page.jar.text = 'metapixel_choice=denied; Path=/';
  page.window.metapixel.track('Contact');
  await page.leave();
  await page.comeBack();
  await page.pass(500);
  assert.deepEqual([answer(page), mirror(page), page.firedNames], ['denied', 'denied', ['PageView']]);
});

test("... until the site says that there is a new answer, which settles the old one's withdrawal", async () => {
  const page = open('function', { window: { metapixelConsent: () => 'granted' } });
  page.jar.text = 'metapixel_choice=denied; Path=/';
  await page.tell('visibilitychange');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
  await tell(page);
  assert.deepEqual([answer(page), mirror(page), page.jar.get('metapixel_consent')], ['granted', 'granted', null]);
});
