'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answer, open, say, withdrawals } = require('./consent_page.js');

const NAMES = { category: 'C0004' };
const CLOSED = 'OptanonAlertBoxClosed=2026-07-15T07:20:51.814Z';

// The list and the cookie that OneTrust keeps.
const groups = (page, list, cookie = CLOSED) => {
  page.window.OnetrustActiveGroups = list;
  if (cookie) page.jar.text = `${cookie}; Path=/`;
};

test('its defaults are no answer, not even a yes for all', async () => {
  const page = open('onetrust', { names: NAMES });
  groups(page, ',C0001,C0002,C0004,', '');
  await say(page, 'OneTrustGroupsUpdated');
  assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
});

test('the stored answer counts only once the tool has loaded', async () => {
  const page = open('onetrust', { names: NAMES, cookies: CLOSED });
  assert.equal(answer(page), 'unknown');
  groups(page, ',C0001,C0004,');
  await say(page, 'OneTrustGroupsUpdated');
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('grant, also when the cookie is written after the event', async () => {
  const page = open('onetrust', { names: NAMES });
  groups(page, ',C0001,C0004,', '');
  await page.tell('OneTrustGroupsUpdated', {}, page.windowListeners);
  groups(page, ',C0001,C0004,');
  await page.pass(500);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('deny', async () => {
  const page = open('onetrust', { names: NAMES });
  groups(page, ',C0001,');
  await say(page, 'OTConsentApplied');
  assert.deepEqual([answer(page), page.scripts, page.posts], ['denied', [], []]);
});

test('change of mind: the server is told', async () => {
  const page = open('onetrust', { names: NAMES });
  groups(page, ',C0001,C0004,');
  await say(page, 'OTConsentApplied');
  groups(page, ',C0001,');
  await say(page, 'OTConsentApplied');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
});

test('an account with numbers of its own', () => {
  const page = open('onetrust', { names: { category: '4' } });
  groups(page, ',1,4,');
  assert.equal(answer(page), 'granted');
  groups(page, ',1,14,40,');
  assert.equal(answer(page), 'denied');
});

test('a visitor who is to be asked again has not answered', () => {
  const page = open('onetrust', { names: NAMES, cookies: 'OptanonConsent=groups=C0004%3A1&AwaitingReconsent=true' });
  groups(page, ',C0001,C0004,');
  assert.equal(answer(page), 'unknown');
});

for (const [what, list, cookie, names] of [
  ['no list', undefined, CLOSED, NAMES],
  ['an array', ['C0004'], CLOSED, NAMES],
  ['an empty time', ',C0004,', 'OptanonAlertBoxClosed=', NAMES],
  ['a time that is none', ',C0004,', 'OptanonAlertBoxClosed=yes', NAMES],
]) {
  test(`${what} is unknown`, () => {
    const page = open('onetrust', { names });
    groups(page, list, cookie);
    assert.equal(answer(page), 'unknown');
  });
}

test('without a name for the category nothing is granted', () => {
  const page = open('onetrust', { names: {} });
  groups(page, ',C0001,,C0004,');
  assert.notEqual(answer(page), 'granted');
});

test('an object that throws is no answer', () => {
  const page = open('onetrust', { names: NAMES, cookies: CLOSED });
  Object.defineProperty(page.window, 'OnetrustActiveGroups', { get() { throw new Error('x'); } });
  assert.equal(answer(page), 'unknown');
});

const TWO = (bit) => `OptanonConsent=isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A${bit}&geolocation=DE%3B`;

test('a withdrawal in another tab is seen in the cookie, though this page remembers a yes', async () => {
  const page = open('onetrust', { names: NAMES, cookies: `${CLOSED}; ${TWO(1)}`, window: { OnetrustActiveGroups: ',C0001,C0004,' } });
  await page.metaLoads();
  page.jar.text = `${TWO(0)}; Path=/`;
  page.window.metapixel.track('Contact');
  await page.pass(0);
  assert.deepEqual([answer(page), page.firedNames, withdrawals(page)], ['denied', ['PageView'], 1]);
});

for (const [groups4, expected] of [['C0004%3A1', 'granted'], ['C00040%3A0', 'granted'], ['C0004:0', 'denied'], ['%E0', 'unknown']]) {
  test(`beside a yes of the list, groups=${groups4} is ${expected}`, () => {
    const page = open('onetrust', { names: NAMES, cookies: `${CLOSED}; OptanonConsent=x=1&groups=${groups4}` });
    page.window.OnetrustActiveGroups = ',C0001,C0004,';
    assert.equal(answer(page), expected);
  });
}

// A withdrawal told to us

test('revoke() whose request fails holds on the next page, which tells the server', async () => {
  const options = { names: NAMES, window: { OnetrustActiveGroups: ',C0001,C0004,' } };
  for (const failure of [{ status: 429 }, new Error('offline')]) {
    const page = open('onetrust', { ...options, cookies: CLOSED });
    page.answers['/metapixel/consent/'] = failure;
    page.window.metapixel.revoke();
    await page.pass(0);
    assert.equal(page.jar.get('metapixel_consent'), 'denied');
    const next = open('onetrust', { ...options, cookies: page.jar.text });
    await next.pass(0);
    assert.deepEqual([answer(next), next.scripts, withdrawals(next), next.jar.get('_fbp')], ['denied', [], 1, null]);
  }
});

test('grant() beside a no of the tool, or an objection of the visitor, starts nothing', async () => {
  for (const [list, cookies] of [[',C0001,', CLOSED], [',C0001,C0004,', `${CLOSED}; metapixel_consent=denied`]]) {
    const page = open('onetrust', { names: NAMES, cookies, window: { OnetrustActiveGroups: list } });
    page.window.metapixel.grant();
    await page.pass(0);
    assert.deepEqual([answer(page), page.scripts, page.jar.get('_fbp')], ['denied', [], null]);
  }
});
