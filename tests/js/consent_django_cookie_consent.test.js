'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { plain } = require('./browser.js');
const { CHOICE, answer, open, settle, withdrawals } = require('./consent_page.js');

const start = async (choice, options = {}) => {
  const page = open('django_cookie_consent', {
    scripts: [],
    config: { provider: 'django_cookie_consent', tool: { category: 'marketing' }, choice: CHOICE },
    ...options,
  });
  page.says = (said) => (page.answers[CHOICE] = said && said.status ? said : { json: { choice: said } });
  page.says(choice);
  const files = ['consent_watch.js', 'consent_django_cookie_consent.js', 'first_party_cookies.js', 'metapixel.js'];
  files.forEach((name) => page.run(name));
  page.before = answer(page);
  await settle();
  return page;
};
const asked = (page) => page.postsTo(CHOICE).length;
const button = (matches) => ({ closest: (selector) => (selector.includes('.cookie-consent__accept') && matches) || null });

for (const [choice, expected] of [['granted', 'granted'], ['denied', 'denied'], ['unknown', 'unknown']]) {
  test(`the endpoint says ${choice}`, async () => {
    const page = await start(choice);
    assert.deepEqual([page.before, answer(page)], ['unknown', expected]);
    assert.equal(page.scripts.length, expected === 'granted' ? 1 : 0);
  });
}

test('it is asked once a page, of this origin, past every cache', async () => {
  const page = await start('granted');
  assert.equal(asked(page), 1);
  assert.deepEqual(plain(page.posts[0]), {
    url: CHOICE,
    body: {},
    request: { method: 'POST', mode: 'same-origin', cache: 'no-store' },
  });
});

for (const [what, told] of [
  ['is missing', { status: 404 }],
  ['says nothing', { status: 204 }],
  ['fails', { status: 500, json: { choice: 'granted' } }],
  ['cannot be reached', new TypeError('offline')],
  ['answers something else', { status: 200, json: { choice: true } }],
  ['answers null', { status: 200, json: null }],
]) {
  test(`an endpoint that ${what} leaves it unknown`, async () => {
    const page = await start('unknown');
    page.answers[CHOICE] = told;
    await page.tell('visibilitychange');
    assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
  });
}

test('without an endpoint nothing is asked and nothing granted', async () => {
  const page = await start('granted', { config: { provider: 'django_cookie_consent', choice: '' } });
  assert.deepEqual([answer(page), page.posts], ['unknown', []]);
});

test('after a click on the banner it asks again, until the package has told its server', async () => {
  const page = await start('unknown');
  await page.tell('click', { target: button(true) });
  await page.pass(300);
  assert.deepEqual([asked(page), answer(page)], [2, 'unknown']);
  page.says('granted');
  await page.pass(700);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('other clicks cost nothing', async () => {
  const page = await start('unknown');
  await page.tell('click', { target: button(false) });
  await page.tell('click', { target: {} });
  await page.pass(5000);
  assert.equal(asked(page), 1);
});

test("the site's own word, a return, and another tab are each a reason to ask", async () => {
  const page = await start('unknown');
  await page.tell('metapixel:consent');
  assert.equal(asked(page), 2);
  await page.comeBack();
  assert.equal(asked(page), 3);
  await page.tell('visibilitychange');
  assert.equal(asked(page), 4);
});

test('a page that is hidden or only shown asks nothing', async () => {
  const page = await start('unknown');
  page.document.hidden = true;
  await page.tell('visibilitychange');
  await page.tell('pageshow', { persisted: false }, page.windowListeners);
  assert.equal(asked(page), 1);
});

test('a page nobody looks at yet asks nothing', async () => {
  const page = await start('granted', { prerendering: true });
  assert.equal(asked(page), 0);
  page.document.prerendering = false;
  await page.tell('prerenderingchange');
  await settle();
  assert.equal(answer(page), 'granted');
});

test('a change of mind: the server is told', async () => {
  const page = await start('granted');
  page.says('denied');
  await page.tell('metapixel:consent');
  assert.deepEqual([answer(page), withdrawals(page)], ['denied', 1]);
});

test('the newest question counts, whichever answer is faster', async () => {
  const page = await start('unknown');
  let slow;
  page.answers[CHOICE] = () => new Promise((resolve) => (slow = resolve));
  await page.tell('visibilitychange');
  page.says('denied');
  await page.tell('visibilitychange');
  slow({ json: { choice: 'granted' } });
  await settle();
  assert.equal(answer(page), 'denied');
});

for (const [what, look] of [
  ['is brought back by the back button', (page) => page.comeBack()],
  ['is looked at again', (page) => page.tell('visibilitychange')],
]) {
  test(`a page with an old yes that ${what} after a no tells nothing`, async () => {
    const page = await start('granted', { cookies: '' });
    await page.metaLoads();
    const posts = () => page.posts.filter(({ url }) => url !== CHOICE && !url.includes('consent')).length;
    const before = posts();
    page.says('denied');
    page.jar.text = '_fbp=; Max-Age=0; Path=/; Domain=example.com';
    const looking = look(page);
    page.window.metapixel.track('Contact');
    await looking;
    await page.pass(2000);
    assert.deepEqual([page.firedNames, posts(), answer(page)], [['PageView'], before, 'denied']);
    assert.equal(page.jar.get('_fbp'), null);
  });

  test(`a page that ${what} with the yes still there tells what came meanwhile`, async () => {
    const page = await start('granted');
    await page.metaLoads();
    const looking = look(page);
    page.window.metapixel.track('Contact');
    await looking;
    assert.equal(page.firedNames.includes('Contact'), true);
  });
}
