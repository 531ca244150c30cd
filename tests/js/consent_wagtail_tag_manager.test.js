'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answer, open, settle, withdrawals } = require('./consent_page.js');

// The cookie as the package writes it, and as Python's cookies quote it.
const kept = (marketing, meta = { id: 'x', set_timestamp: 1767225600.5 }) =>
  encodeURIComponent(Buffer.from(JSON.stringify({ meta, state: { necessary: 'true', marketing } })).toString('base64'));
const keep = (page, value) => (page.jar.text = `wtm=${value}; Path=/`);
const META = '_fbp=fb.1.1500000000000.99';

for (const [what, value, expected] of [
  ['yes', kept('true'), 'granted'],
  ['no', kept('false'), 'denied'],
  ['yes in quotes', `"${kept('true')}"`, 'granted'],
  ['unset', kept('unset'), 'unknown'],
  ['pending', kept('pending'), 'unknown'],
  ['yes before anybody was asked', kept('true', {}), 'unknown'],
  ['no before anybody was asked', kept('false', { id: '', set_timestamp: 0 }), 'unknown'],
  ['a time that is a text', kept('true', { set_timestamp: '1' }), 'unknown'],
  ['a yes that is no text', kept(true), 'unknown'],
  ['the old format', 'marketing:true|necessary:true', 'unknown'],
  ['half of it', kept('true').slice(0, -9), 'unknown'],
  ['not base64', '%%%', 'unknown'],
  ['JSON of something else', Buffer.from('[1]').toString('base64'), 'unknown'],
  ['null', Buffer.from('null').toString('base64'), 'unknown'],
]) {
  test(`${what} is ${expected}`, async () => {
    const page = open('wagtail_tag_manager', { cookies: `a=b; wtm=${value}` });
    assert.equal(answer(page), expected);
    await settle();
    assert.equal(page.scripts.length, expected === 'granted' ? 1 : 0);
  });
}

test('no cookie is unknown; storage that is blocked too', () => {
  const page = open('wagtail_tag_manager');
  assert.equal(answer(page), 'unknown');
  page.jar.blocked = true;
  assert.equal(answer(page), 'unknown');
});

test('an answer given in another tab is seen when this one is looked at', async () => {
  const page = open('wagtail_tag_manager');
  keep(page, kept('true'));
  await page.tell('visibilitychange');
  assert.deepEqual(page.firedNames, ['PageView']);
  keep(page, kept('false'));
  await page.tell('visibilitychange');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
});

test('the page after a no deletes what the page before had set', async () => {
  const page = open('wagtail_tag_manager', { cookies: `wtm=${kept('false')}; ${META}` });
  await page.pass(0);
  assert.deepEqual([withdrawals(page), page.jar.get('_fbp')], [1, null]);
});

test('another type is asked for where the site named it', () => {
  const page = open('wagtail_tag_manager', { names: { category: 'necessary' }, cookies: `wtm=${kept('false')}` });
  assert.equal(answer(page), 'granted');
  const other = open('wagtail_tag_manager', { names: { category: 'constructor' }, cookies: `wtm=${kept('true')}` });
  assert.equal(answer(other), 'unknown');
});
