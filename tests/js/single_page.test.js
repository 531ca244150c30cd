'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, Page, tool } = require('./browser.js');

const SCRIPTS = ['first_party_cookies.js', 'page_swaps.js', 'single_page.js', 'metapixel.js'];
const SEARCH = { event_name: 'Search', custom_data: { search_string: 'boots' } };

const app = (options) => new Page({ scripts: SCRIPTS, ...options });
const paths = (page) => page.postsTo(CONFIG.collect).concat(page.beacons.map(({ body }) => body))
  .map(({ url, events }) => [new URL(url).pathname, ...events.map((event) => event.event_name || 'declared')]);
const push = async (page, url, state = null) => {
  page.window.history.pushState(state, '', url);
  await page.pass(50);
};
const replace = async (page, url, state = null) => {
  page.window.history.replaceState(state, '', url);
  await page.pass(50);
};

test('a new path is a new page view, told with its own address', async () => {
  const page = app();
  await page.metaLoads();
  await push(page, '/about/');
  assert.deepEqual(paths(page), [['/product/', 'PageView'], ['/about/', 'PageView']]);
  assert.equal(page.fired[0][4].eventID === page.fired[1][4].eventID, false);
});

test('each way back and forth is a view', async () => {
  const page = app();
  await page.metaLoads();
  await push(page, '/about/');
  page.moveTo('/product/');
  await page.tell('popstate', {}, page.windowListeners);
  await page.pass(50);
  assert.deepEqual(paths(page).map(([path]) => path), ['/product/', '/about/', '/product/']);
});

test('a change of the query, of the fragment or of the state is no view', async () => {
  const page = app();
  await page.metaLoads();
  await push(page, '?page=2');
  await push(page, '#part');
  await replace(page, '/product/', { scroll: 5 });
  await replace(page, undefined, { scroll: 6 });
  await page.tell('popstate', {}, page.windowListeners);
  await page.pass(50);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a path that was replaced is a view', async () => {
  const page = app();
  await replace(page, '/about/');
  assert.deepEqual(page.firedNames, ['PageView', 'PageView']);
});

test('of a chain of redirects only the end is a view', async () => {
  const page = app();
  await page.metaLoads();
  page.window.history.pushState(null, '', '/account/');
  page.window.history.replaceState(null, '', '/sign-in/');
  await page.pass(50);
  await page.pass(1000);
  assert.deepEqual(paths(page), [['/product/', 'PageView'], ['/sign-in/', 'PageView']]);
});

test('a redirect back to where it began is no view', async () => {
  const page = app();
  page.window.history.pushState(null, '', '/account/');
  page.window.history.replaceState(null, '', '/product/');
  await page.pass(50);
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('the declarations of the new page are told, those of the old one are not told again', async () => {
  const page = app({ islands: [{ event: { event_name: 'ViewContent' } }] });
  await page.metaLoads();
  page.window.history.pushState(null, '', '/search/');
  page.island({ event: SEARCH });
  await page.pass(50);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'PageView', 'Search']);
  assert.deepEqual(paths(page)[1], ['/search/', 'PageView', 'declared']);
});

test('declarations that come later are told by scan(), without another view', async () => {
  const page = app({ islands: [{ event: { event_name: 'ViewContent' } }] });
  await push(page, '/search/');
  page.elements.pop();
  page.island({ event: SEARCH });
  page.window.metapixel.scan();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'PageView', 'Search']);
});

test('declarations that came before the address changed are not told twice', async () => {
  const page = app();
  page.island({ event: SEARCH });
  page.window.metapixel.scan();
  await push(page, '/search/');
  assert.deepEqual(page.firedNames, ['PageView', 'Search', 'PageView']);
});

for (const [who, state, name] of [
  ['htmx', { htmx: true }, 'htmx:afterSettle'],
  ['Turbo', { turbo: { restorationIdentifier: 'x' } }, 'turbo:load'],
]) {
  test(`what ${who} does is told once, when its content is there`, async () => {
    const page = app({ islands: [{ event: { event_name: 'ViewContent' } }] });
    await page.metaLoads();
    await push(page, '/search/', state);
    assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
    page.elements.pop();
    page.island({ event: SEARCH });
    await page.tell(name);
    await page.pass(1000);
    assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'PageView', 'Search']);
  });

  test(`a way by ${who} and a way by the page's own script are both views`, async () => {
    const page = app();
    await push(page, '/search/', state);
    await page.tell(name);
    await push(page, '/product/');
    assert.deepEqual(page.firedNames, ['PageView', 'PageView', 'PageView']);
  });
}

test('a view is told before the page is left, and before its time has come', async () => {
  const page = app();
  await page.metaLoads();
  page.window.history.pushState(null, '', '/about/');
  await page.tell('pagehide', {}, page.windowListeners);
  const told = [['/product/', 'PageView'], ['/about/', 'PageView']];
  assert.deepEqual(paths(page), told);
  await page.pass(50);
  assert.deepEqual(paths(page), told);
});

test('a page that waits for the script of Meta loses no view when it is left', async () => {
  const page = app();
  await push(page, '/about/');
  await page.leave();
  assert.deepEqual(paths(page), [['/product/', 'PageView'], ['/about/', 'PageView']]);
});

test('a page that waits for Turbo and is left tells no view of content it never showed', async () => {
  const page = app();
  page.window.history.pushState({ turbo: {} }, '', '/about/');
  await page.leave();
  assert.deepEqual(page.firedNames, ['PageView']);
});

test('a return from the back/forward cache is one view, and the next path another', async () => {
  const page = app();
  await push(page, '/about/');
  await page.leave();
  await page.comeBack();
  await push(page, '/third/');
  assert.deepEqual(page.firedNames, ['PageView', 'PageView', 'PageView', 'PageView']);
});

test('a page that is prerendered tells where it stands when it is shown', async () => {
  const page = app({ prerendering: true });
  await push(page, '/about/');
  assert.deepEqual(page.posts, []);
  page.document.prerendering = false;
  await page.tell('prerenderingchange');
  await page.metaLoads();
  assert.deepEqual(paths(page), [['/about/', 'PageView']]);
});

test('before consent a view is held, with its address', async () => {
  const consent = tool('unknown');
  const page = app({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  await push(page, '/about/');
  assert.deepEqual([page.scripts, page.posts], [[], []]);
  consent.say('granted');
  await page.metaLoads();
  assert.deepEqual(paths(page), [['/product/', 'PageView'], ['/about/', 'PageView']]);
});

test('the methods keep what they are given and what they return, and throw what they threw', () => {
  const calls = [];
  const history = {
    state: null,
    pushState(...words) {
      calls.push([this === history, ...words]);
      return 'returned';
    },
    replaceState() {
      throw new Error('SecurityError');
    },
  };
  const page = app({ window: { history } });
  assert.equal(page.window.history.pushState({ a: 1 }, 'title', '/x/'), 'returned');
  assert.deepEqual(calls, [[true, { a: 1 }, 'title', '/x/']]);
  assert.throws(() => page.window.history.replaceState(), /SecurityError/);
});

test('wrappers of others, below and above, go on working', async () => {
  const page = app({ scripts: [] });
  const order = [];
  const { history } = page.window;
  const wrap = (name) => {
    const original = history.pushState;
    history.pushState = function (...words) {
      order.push(name);
      return original.apply(this, words);
    };
  };
  wrap('below');
  SCRIPTS.forEach((name) => page.run(name));
  wrap('above');
  await push(page, '/about/');
  assert.deepEqual([order, page.firedNames], [['above', 'below'], ['PageView', 'PageView']]);
});

test('a router on the Navigation API is heard, and nothing is told twice', async () => {
  let changed;
  const navigation = { entries: () => [], addEventListener: (name, work) => (changed = name === 'currententrychange' && work) };
  const page = app({ window: { navigation } });
  page.moveTo('/about/');
  changed();
  await page.pass(50);
  page.window.history.pushState(null, '', '/third/');
  changed();
  await page.pass(50);
  await page.pass(1000);
  assert.deepEqual(page.firedNames, ['PageView', 'PageView', 'PageView']);
});

test('a thousand changes of the state make one look', async () => {
  const page = app();
  const before = page.timers.length;
  for (let scroll = 0; scroll < 1000; scroll += 1) page.window.history.replaceState({ scroll }, '');
  assert.equal(page.timers.length, before + 1);
});

test('the script of Meta is kept from counting by itself', async () => {
  const page = app();
  await push(page, '/about/');
  assert.equal(page.window.fbq.disablePushState, true);
});

test('the file may stand on the page twice, and alone, and where there is no history', async () => {
  const twice = app({ scripts: ['single_page.js', 'single_page.js', 'metapixel.js'] });
  const before = twice.timers.length;
  twice.window.history.pushState(null, '', '/about/');
  assert.equal(twice.timers.length, before + 1);
  const alone = app({ scripts: ['single_page.js'] });
  await push(alone, '/about/');
  const without = app({ window: { history: undefined } });
  assert.deepEqual(without.firedNames, ['PageView']);
});
