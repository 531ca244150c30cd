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
