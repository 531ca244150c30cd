'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { plain } = require('./browser.js');
const { answer, open, say, withdrawals } = require('./consent_page.js');

const consent = (marketing, method = 'explicit') =>
  ({ necessary: true, preferences: false, statistics: true, marketing, method });

// The object that Cookiebot documents.
const cookiebot = (page, { response, ...given }) => {
  page.window.Cookiebot = { consent: given, hasResponse: response, consented: false, declined: false };
  // Its cookie has the same answer, for other pages and the server.
  const pairs = Object.entries(given).map((pair) => pair.join(':'));
  if (response) page.jar.text = `CookieConsent={${pairs}}; Path=/`;
  page.window.Cookiebot.submitCustomConsent = (...args) => {
    page.submitted = args;
    cookiebot(page, { response: true, ...consent(args[2]) });
    page.windowListeners.dispatch(args[2] ? 'CookiebotOnAccept' : 'CookiebotOnDecline');
  };
};

test('before it has loaded, and before the visitor answered, it is unknown', async () => {
  const page = open('cookiebot');
  assert.equal(answer(page), 'unknown');
  cookiebot(page, { response: false, ...consent(false, null) });
  await say(page, 'load');
  assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
});

test('a visitor who answered earlier is known as soon as it is ready', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnConsentReady');
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('grant, change of mind, grant', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnAccept');
  cookiebot(page, { response: true, ...consent(false) });
  await say(page, 'CookiebotOnDecline');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnAccept');
  assert.equal(answer(page), 'granted');
});

test('deny: nothing of Meta is on the page', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(false) });
  await say(page, 'CookiebotOnDecline');
  assert.deepEqual([answer(page), page.scripts, page.posts], ['denied', [], []]);
});

test('another category is asked for where the site named it', async () => {
  const page = open('cookiebot', { names: { category: 'statistics' } });
  cookiebot(page, { response: true, ...consent(false) });
  assert.equal(answer(page), 'granted');
});

for (const [what, given] of [
  ['assumed by the tool', { response: true, ...consent(true, 'implied') }],
  ['of an old version', { response: true, ...consent(true), method: undefined }],
  ['a text', { response: true, ...consent('true') }],
  ['not answered', { response: false, ...consent(true) }],
]) {
  test(`a consent that is ${what} is no yes`, () => {
    const page = open('cookiebot');
    cookiebot(page, given);
    assert.equal(answer(page), 'unknown');
  });
}

test('a category nobody configured, or one of Object, is no yes', () => {
  for (const category of [undefined, '', 'constructor', 'toString']) {
    const page = open('cookiebot', { names: { category } });
    cookiebot(page, { response: true, ...consent(true) });
    assert.equal(answer(page), 'unknown');
  }
});

test('an object that throws is no answer', () => {
  const page = open('cookiebot');
  Object.defineProperty(page.window, 'Cookiebot', { get() { throw new Error('x'); } });
  assert.equal(answer(page), 'unknown');
});

test('grant() and revoke() of the page go through Cookiebot, other categories stay', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(false) });
  page.window.metapixel.grant();
  await page.pass(0);
  assert.deepEqual(plain(page.submitted), [false, true, true]);
  assert.deepEqual(page.firedNames, ['PageView']);
  page.window.metapixel.revoke();
  await page.pass(0);
  assert.deepEqual(plain(page.submitted), [false, true, false]);
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
});

test('grant() without Cookiebot starts nothing', async () => {
  const page = open('cookiebot');
  page.window.metapixel.grant();
  await page.pass(0);
  assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
});

test('without consent_watch.js it does nothing and breaks nothing', () => {
  const page = open('cookiebot', { scripts: ['consent_cookiebot.js', 'metapixel.js'] });
  assert.equal(page.window.metapixel.consent, undefined);
});

const kept = (marketing) => `CookieConsent={stamp:%27x=%27%2Cnecessary:true%2Cmarketing:${marketing}%2Cmethod:%27explicit%27}`;

test('a withdrawal in another tab is seen in the cookie, though this page remembers a yes', async () => {
  const page = open('cookiebot', { cookies: kept(true) });
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnConsentReady');
  await page.metaLoads();
  page.jar.text = `${kept(false)}; Path=/`;
  page.window.metapixel.track('Contact');
  await page.pass(0);
  assert.deepEqual([answer(page), page.firedNames, withdrawals(page)], ['denied', ['PageView'], 1]);
});

test('a no to another category is no no', () => {
  const page = open('cookiebot', { cookies: 'CookieConsent={preferences:false,marketing:true}' });
  cookiebot(page, { response: true, ...consent(true) });
  assert.equal(answer(page), 'granted');
});

test('a cookie that cannot be decoded is no yes', () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(true) });
  page.jar.text = 'CookieConsent=%E0; Path=/';
  assert.equal(answer(page), 'unknown');
});

test('a withdrawal the server did not take holds on the next page, and grant() ends it', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnConsentReady');
  page.answers['/metapixel/consent/'] = { status: 429 };
  page.window.metapixel.revoke();
  await page.pass(500);
  const next = open('cookiebot', { cookies: page.jar.text });
  cookiebot(next, { response: true, ...consent(true) });
  next.answers['/metapixel/consent/'] = { status: 429 };
  await say(next, 'CookiebotOnConsentReady');
  assert.deepEqual([answer(next), next.scripts, withdrawals(next)], ['denied', [], 1]);
  next.window.metapixel.grant();
  await next.pass(500);
  assert.deepEqual([answer(next), next.firedNames], ['granted', ['PageView']]);
});

test('a yes that this page remembers ends when its cookie is gone', async () => {
  const page = open('cookiebot');
  cookiebot(page, { response: true, ...consent(true) });
  await say(page, 'CookiebotOnAccept');
  page.jar.text = 'CookieConsent=; Path=/; Max-Age=0';
  assert.equal(answer(page), 'unknown');
});
