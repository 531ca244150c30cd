'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, Page, source, tool } = require('./browser.js');

const SCRIPTS = ['first_party_cookies.js', 'html_attributes.js', 'metapixel.js'];

const shown = (options = {}) => new Page({ scripts: SCRIPTS, ...options, config: { page_view: false, ...options.config } });
const marked = (page, tag, attributes) => page.add(tag, { 'data-metapixel-event': 'Contact', ...attributes });
const told = (page) => page.fired.map((call) => [call[2], call[3]]);

for (const tag of ['a', 'button', 'div', 'img']) {
  test(`a click on <${tag}> tells its event, with its parameters`, async () => {
    const page = shown();
    await page.click(marked(page, tag, { 'data-metapixel-params': '{"content_name": "Hotline"}' }));
    assert.deepEqual(told(page), [['Contact', { content_name: 'Hotline' }]]);
    await page.metaLoads();
    const [{ event_name, custom_data }] = page.postsTo(CONFIG.collect)[0].events;
    assert.deepEqual([event_name, custom_data], ['Contact', { content_name: 'Hotline' }]);
  });
}

test('the click is left to the page', async () => {
  const page = shown();
  assert.equal((await page.click(marked(page, 'a'))).prevented, false);
});

test('a click on what is inside counts for the nearest marked element', async () => {
  const page = shown();
  const outer = marked(page, 'div', { 'data-metapixel-event': 'FindLocation' });
  const inner = marked(page, 'a');
  const icon = page.add('span', {});
  await page.click(icon, { path: [icon, inner, outer] });
  assert.deepEqual(told(page), [['Contact', {}]]);
});

test('a click elsewhere tells nothing', async () => {
  const page = shown();
  marked(page, 'a');
  await page.click(page.add('a', {}));
  assert.deepEqual(told(page), []);
});

test('an element that was added later counts', async () => {
  const page = shown();
  await page.metaLoads();
  await page.click(marked(page, 'a'));
  assert.deepEqual(told(page), [['Contact', {}]]);
});

test('a form tells its event when it is submitted, not when it is clicked', async () => {
  const page = shown();
  const form = marked(page, 'form');
  const button = page.add('button', {});
  await page.click(button, { path: [button, form] });
  assert.deepEqual(told(page), []);
  await page.click(form, { name: 'submit' });
  assert.deepEqual(told(page), [['Contact', {}]]);
});

test('a marked button in a form that is not marked tells its event once', async () => {
  const page = shown();
  const [form, button] = [page.add('form', {}), marked(page, 'button')];
  await page.click(button, { path: [button, form] });
  await page.click(form, { name: 'submit' });
  assert.deepEqual(told(page), [['Contact', {}]]);
});

test('a link in a marked form tells nothing of the form', async () => {
  const page = shown();
  const [form, link] = [marked(page, 'form'), page.add('a', { href: '/terms/' })];
  await page.click(link, { path: [link, form] });
  assert.deepEqual(told(page), []);
});

test('a signed declaration is no button', async () => {
  const page = shown({ islands: [{ event: { event_name: 'Search' } }] });
  await page.click(page.elements[page.elements.length - 1]);
  assert.deepEqual([told(page), page.infos], [[['Search', {}]], []]);
});

test('a double click is one event; a click a second later is another', async () => {
  const page = shown();
  const [link, other] = [marked(page, 'a'), marked(page, 'a')];
  await page.click(link);
  page.now += 999;
  await page.click(link);
  await page.click(other);
  assert.equal(told(page).length, 2);
  page.now += 1;
  await page.click(link);
  assert.equal(told(page).length, 3);
});

test('the middle button opens a link in another tab, and counts; the right one does not', async () => {
  const page = shown();
  const link = Object.assign(marked(page, 'a'), { href: 'https://elsewhere.example/' });
  const button = marked(page, 'button');
  await page.click(link, { name: 'auxclick', button: 2 });
  await page.click(button, { name: 'auxclick', button: 1 });
  assert.deepEqual(told(page), []);
  await page.click(link, { name: 'auxclick', button: 1 });
  assert.deepEqual(told(page), [['Contact', {}]]);
});

for (const text of ['{"content_name":', '[]', 'null', '"Hotline"', '5']) {
  test(`parameters that are ${text} are left out, the event is not, and the console says so`, async () => {
    const page = shown();
    await page.click(marked(page, 'a', { 'data-metapixel-params': text }));
    assert.deepEqual(told(page), [['Contact', {}]]);
    assert.equal(page.infos.filter((info) => /data-metapixel-params is not a JSON object/.test(info)).length, 1);
  });
}

test('an empty parameter attribute is no mistake', async () => {
  const page = shown();
  await page.click(marked(page, 'a', { 'data-metapixel-params': '' }));
  assert.deepEqual([told(page), page.infos], [[['Contact', {}]], []]);
});

test('what the server has to report is refused, as by track()', async () => {
  const page = shown();
  for (const name of ['Purchase', 'Lead', '']) await page.click(marked(page, 'a', { 'data-metapixel-event': name }));
  assert.deepEqual([told(page), page.infos.length], [[], 3]);
});

test('a click that leads away from the page is posted by beacon, while the script of Meta still loads', async () => {
  const page = shown();
  await page.click(marked(page, 'a', { href: 'https://elsewhere.example/' }));
  assert.deepEqual([page.posts, page.beacons], [[], []]);
  await page.leave();
  assert.deepEqual(page.beacons.map(({ body }) => body.events.map((event) => event.event_name)), [['Contact']]);
});

test('a click that leads away from a page whose script has loaded is posted before the page goes', async () => {
  const page = shown({ config: { page_view: true } });
  await page.metaLoads();
  await page.click(marked(page, 'a', { href: 'https://elsewhere.example/' }));
  const last = page.posts[page.posts.length - 1];
  assert.deepEqual([last.body.events[0].event_name, last.request.keepalive], ['Contact', true]);
});

test('without consent a click tells nobody', async () => {
  const consent = tool('denied');
  const page = shown({ config: { provider: 'other' }, window: { metapixel: { consent } } });
  await page.click(marked(page, 'a'));
  await page.leave();
  assert.deepEqual([page.scripts, page.posts, page.beacons], [[], [], []]);
});

test('it listens while the event goes down, before the page can stop it', () => {
  const phases = [];
  const page = new Page({ scripts: [] });
  page.document.addEventListener = (name, work, capture) => phases.push([name, capture]);
  page.run('html_attributes.js');
  assert.deepEqual(phases, [['click', true], ['auxclick', true], ['submit', true]]);
});

test('the file may stand on the page twice, and alone', async () => {
  const page = shown({ scripts: ['html_attributes.js', 'html_attributes.js', 'metapixel.js'] });
  await page.click(marked(page, 'a'));
  assert.equal(told(page).length, 1);
  const alone = shown({ scripts: ['html_attributes.js'] });
  await alone.click(marked(alone, 'a'));
});

test('an event without a path, and a broken core, are not noticed by the page', async () => {
  const page = shown();
  await page.tell('click', { target: marked(page, 'a') });
  page.window.metapixel.track = () => { throw new Error('broken'); };
  await page.click(marked(page, 'a'));
});

test('nothing observes the whole document', () => {
  for (const name of ['html_attributes.js', 'single_page.js']) assert.doesNotMatch(source(name), /MutationObserver|setInterval/);
});

test('a form tells its event whatever its fields are named', async () => {
  const page = shown();
  const form = marked(page, 'form', { 'data-metapixel-params': '{"content_name": "Stores"}' });
  const field = page.add('input', { name: 'field' });
  ['hasAttribute', 'getAttribute', 'localName'].forEach((name) => Object.defineProperty(form, name, { value: field }));
  await page.click(form, { name: 'submit' });
  assert.deepEqual(told(page), [['Contact', { content_name: 'Stores' }]]);
});
