'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answer, open, say, withdrawals } = require('./consent_page.js');

const NAMES = { category: 'advertisement' };
const cookieyes = (page, advertisement, done = true) => {
  const categories = { necessary: true, functional: true, analytics: false, performance: false, advertisement };
  const consent = done && advertisement ? 'yes' : 'no';
  page.jar.text = `cookieyes-consent=consentid:x,consent:${consent},action:${done ? 'yes' : ''}; Path=/`;
  page.window.getCkyConsent = () => ({ activeLaw: 'gdpr', categories, isUserActionCompleted: done, consentID: 'x' });
};
const tell = (page, name) => say(page, name, page.documentListeners);

test('before it has loaded and before an answer it is unknown', async () => {
  const page = open('cookieyes', { names: NAMES });
  assert.equal(answer(page), 'unknown');
  cookieyes(page, true, false); // a banner of the opt-out kind
  await tell(page, 'cookieyes_banner_load');
  assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
});

test('an earlier answer is known when the banner has loaded', async () => {
  const page = open('cookieyes', { names: NAMES });
  cookieyes(page, true);
  await tell(page, 'cookieyes_banner_load');
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('deny, grant, change of mind', async () => {
  const page = open('cookieyes', { names: NAMES });
  cookieyes(page, false);
  await tell(page, 'cookieyes_consent_update');
  assert.deepEqual([answer(page), page.scripts, page.posts], ['denied', [], []]);
  cookieyes(page, true);
  await tell(page, 'cookieyes_consent_update');
  assert.deepEqual(page.firedNames, ['PageView']);
  cookieyes(page, false);
  await tell(page, 'cookieyes_consent_update');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
});

test('categories that are on where the law is one of opting out are no yes', () => {
  const page = open('cookieyes', { names: NAMES });
  cookieyes(page, true);
  page.jar.text = 'cookieyes-consent=consentid:x,consent:no,action:yes,advertisement:yes; Path=/';
  assert.equal(answer(page), 'unknown');
});

test('a cookie that is encoded as a whole is read alike', () => {
  const page = open('cookieyes', { names: NAMES });
  cookieyes(page, true);
  page.jar.text = 'cookieyes-consent=consentid%3Ax%2Cconsent%3Ayes%2Caction%3Ayes; Path=/';
  assert.equal(answer(page), 'granted');
});

test('another category is asked for where the site named it', () => {
  const page = open('cookieyes', { names: { category: 'functional' } });
  cookieyes(page, false);
  page.jar.text = 'cookieyes-consent=consent:yes,action:yes,functional:yes; Path=/';
  assert.equal(answer(page), 'granted');
});

for (const [what, made] of [
  ['throws', () => { throw new Error('suspended'); }],
  ['answers nothing', () => undefined],
  ['has no categories', () => ({ isUserActionCompleted: true })],
  ['says yes in words', () => ({ isUserActionCompleted: true, categories: { advertisement: 'yes' } })],
  ['is asked about nothing it knows', () => ({ isUserActionCompleted: true, categories: {} })],
  ['was answered by something else', () => ({ isUserActionCompleted: 'yes', categories: { advertisement: true } })],
]) {
  test(`a function that ${what} is no yes`, () => {
    const page = open('cookieyes', { names: NAMES, cookies: 'cookieyes-consent=consent:yes,action:yes' });
    page.window.getCkyConsent = made;
    assert.equal(answer(page), 'unknown');
  });
}

test('a withdrawal in another tab is seen in the cookie, though this page remembers a yes', async () => {
  const page = open('cookieyes', { names: NAMES });
  cookieyes(page, true);
  await tell(page, 'cookieyes_banner_load');
  await page.metaLoads();
  for (const no of ['consent:no,action:yes,advertisement:no', 'consent:yes,action:yes,analytics:yes,advertisement:no']) {
    page.jar.text = `cookieyes-consent=consentid:x,${no}; Path=/`;
    assert.equal(answer(page), 'denied');
  }
  page.window.metapixel.track('Contact');
  await page.pass(0);
  assert.deepEqual([page.firedNames, withdrawals(page)], [['PageView'], 1]);
});
