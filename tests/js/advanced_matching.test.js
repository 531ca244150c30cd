'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { CONFIG, PIXEL, Page, plain, settle } = require('./browser.js');

const URL_OF_IT = '/metapixel/matching/';
const EM = 'a'.repeat(64);
const ID = '0123456789abcdef'.repeat(4);
const FILES = ['first_party_cookies.js', 'advanced_matching.js', 'meta_script.js', 'page_swaps.js', 'metapixel.js'];
const SHOES = { event: { event_name: 'ViewContent', custom_data: {} } };

// A page of somebody who has signed in; "answer" is what the server says of who it is.
const visit = (answer, { config, ...options } = {}) => {
  const page = new Page({
    cookies: 'metapixel_user=',
    islands: [SHOES],
    ...options,
    config: { matching: URL_OF_IT, ...config },
    scripts: [],
    withoutMeta: true,
  });
  page.answers[URL_OF_IT] = answer;
  (options.scripts || FILES).forEach((name) => page.run(name));
  return page;
};
const knows = (json) => ({ json });
const hangs = () => new Promise(() => {});
const verbs = (page) => page.calls.map(([verb]) => verb);
const inits = (page) => page.calls.filter(([verb]) => verb === 'init');

test('who has signed in is told with init, before the events in their order', async () => {
  const page = visit(knows({ em: EM, external_id: ID }));
  assert.deepEqual(page.calls, []);
  await settle();
  assert.equal(page.scripts.length, 1); // the script of Meta is on its way
  assert.deepEqual(page.calls[1], ['init', PIXEL, { em: EM, external_id: ID }]);
  assert.deepEqual(verbs(page), ['set', 'init', 'trackSingle', 'trackSingle']);
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent']);
});

test('every pixel is told', async () => {
  const pixels = [{ id: PIXEL, events: null }, { id: '9999999999', events: ['PageView'] }];
  const page = visit(knows({ em: EM }), { config: { pixels } });
  await settle();
  assert.deepEqual(inits(page).map(([, id, person]) => [id, person]), pixels.map(({ id }) => [id, { em: EM }]));
});

test('the server is asked once, as our other addresses are', async () => {
  const page = visit(knows({ em: EM }));
  page.window.metapixel.track('Contact');
  await page.pass(2000);
  const asked = page.posts.filter(({ url }) => url === URL_OF_IT);
  assert.deepEqual(asked.map(({ body, request }) => [body, request]), [[{}, { method: 'POST', mode: 'same-origin' }]]);
});

for (const cookies of ['', 'metapixel_username=1', 'not_metapixel_user=']) {
  test(`with "${cookies}" nobody is asked for, and nothing waits`, () => {
    const page = visit(knows({ em: EM }), { cookies });
    assert.deepEqual(verbs(page), ['set', 'init', 'trackSingle', 'trackSingle']);
    assert.deepEqual([inits(page), page.postsTo(URL_OF_IT)], [[['init', PIXEL]], []]);
  });
}

test('where storage is blocked nothing waits', () => {
  const page = visit(knows({ em: EM }), { scripts: [] });
  page.jar.blocked = true;
  FILES.forEach((name) => page.run(name));
  assert.deepEqual([inits(page), page.firedNames.length], [[['init', PIXEL]], 2]);
});

test('where the site did not choose it nobody is asked for', () => {
  const page = visit(knows({ em: EM }), { config: { matching: undefined } });
  assert.deepEqual([inits(page), page.postsTo(URL_OF_IT)], [[['init', PIXEL]], []]);
});

const NOTHING = {
  'an empty answer': knows({}),
  'a refusal': { status: 403 },
  'no content': { status: 204 },
  'an error': new TypeError('Failed to fetch'),
  'no object': knows(null),
  'a list': knows([EM.slice(1)]),
  'no digest': knows({ em: 'jane@example.com', ph: 5, fn: null, ln: EM.toUpperCase(), ge: [EM], ct: `${EM}\n` }),
};
for (const [what, answer] of Object.entries(NOTHING)) {
  test(`${what} is nobody, and the events are told`, async () => {
    const page = visit(answer);
    await settle();
    assert.deepEqual([inits(page), page.firedNames], [[['init', PIXEL]], ['PageView', 'ViewContent']]);
  });
}

test('what is no digest costs itself only', async () => {
  const page = visit(knows({ em: 'jane@example.com', external_id: ID }));
  await settle();
  assert.deepEqual(inits(page)[0][2], { external_id: ID });
});

test('an answer is waited for 300 ms, and a late one is dropped', async () => {
  let answer;
  const page = visit(() => new Promise((resolve) => (answer = resolve)));
  await page.pass(299);
  assert.deepEqual(page.calls, []);
  await page.pass(1);
  assert.deepEqual([inits(page), page.firedNames], [[['init', PIXEL]], ['PageView', 'ViewContent']]);
  answer(knows({ em: EM }));
  await settle();
  assert.equal(inits(page).length, 1);
});

test('who leaves earlier is told of without it', async () => {
  const page = visit(hangs);
  await page.leave();
  assert.deepEqual([inits(page), page.firedNames], [[['init', PIXEL]], ['PageView', 'ViewContent']]);
});

test('the server hears of the page without waiting', async () => {
  const page = visit(hangs);
  await page.metaLoads();
  assert.deepEqual([page.postsTo(CONFIG.collect).length, page.calls], [1, []]);
});

test('an event of a click meanwhile is told after the others', async () => {
  const page = visit(knows({ em: EM }));
  page.window.metapixel.track('Contact');
  await settle();
  assert.deepEqual(page.firedNames, ['PageView', 'ViewContent', 'Contact']);
  page.window.metapixel.track('Contact');
  assert.equal(page.firedNames.length, 4);
});

test('a withdrawal meanwhile drops the events and the answer', async () => {
  let answer;
  const page = visit(() => new Promise((resolve) => (answer = resolve)));
  page.window.metapixel.revoke();
  answer(knows({ em: EM }));
  await page.pass(300);
  assert.deepEqual(page.calls, [['consent', 'revoke']]);
});

test('a grant after it begins anew', async () => {
  const page = visit(hangs);
  page.answers[CONFIG.consent] = () => ({ status: 204 });
  await page.window.metapixel.revoke();
  page.answers[URL_OF_IT] = knows({ external_id: ID });
  await page.window.metapixel.grant();
  await settle();
  assert.deepEqual(inits(page), [['init', PIXEL, { external_id: ID }]]);
  await page.window.metapixel.revoke();
  await page.window.metapixel.grant();
  await page.pass(300);
  assert.equal(inits(page).length, 1);
});

test('a grant after it, when the mark is gone, asks nobody and starts the pixel once', async () => {
  const fbq = Object.assign((...words) => fbq.queue.push(words), { queue: [], getState: () => ({ pixels: [] }) });
  const page = visit(hangs, { window: { fbq } });
  await page.window.metapixel.revoke();
  page.jar.text = 'metapixel_user=; Path=/; Max-Age=0';
  await page.window.metapixel.grant();
  fbq.queue.splice(0, Infinity, ...inits(page).map(() => ['was init'])); // Meta's script has taken them
  await page.window.metapixel.revoke();
  await page.window.metapixel.grant();
  assert.deepEqual(verbs(page).filter((verb) => verb.includes('init')), ['was init']);
});

// A tool whose answer changes without a word to this page: another tab has asked.
const elsewhere = () => {
  const answer = { now: 'granted' };
  return { answer, consent: { read: () => answer.now, watch() {} } };
};

test('a withdrawal in another tab meanwhile: nobody is named and nothing is told', async () => {
  let reply;
  const { answer, consent } = elsewhere();
  const page = visit(() => new Promise((resolve) => (reply = resolve)), {
    config: { provider: 'other' },
    window: { metapixel: { consent } },
  });
  answer.now = 'denied';
  reply(knows({ em: EM }));
  await settle();
  assert.deepEqual(page.calls, []);
});

test('... and a grant after it asks anew and starts the pixel', async () => {
  const { answer, consent } = elsewhere();
  const page = visit(hangs, { config: { provider: 'other' }, window: { metapixel: { consent } } });
  answer.now = 'denied';
  await page.pass(300);
  page.window.metapixel.scan();
  page.answers[URL_OF_IT] = knows({ external_id: ID });
  answer.now = 'granted';
  page.window.metapixel.grant();
  await settle();
  assert.deepEqual(inits(page), [['init', PIXEL, { external_id: ID }]]);
  assert.equal(verbs(page).pop(), 'trackSingle');
});

// Who was named cannot be unnamed in this document.
const signsOut = (page) => (page.jar.text = 'metapixel_user=; Path=/; Max-Age=0');
const signsIn = (page) => (page.jar.text = 'metapixel_user=; Path=/');

test('once whoever was named has signed out the server alone tells, also when somebody else signs in', async () => {
  const page = visit(knows({ em: EM }));
  const heard = [];
  page.window.metapixel.on('event', ({ event_name }) => heard.push(event_name));
  await page.metaLoads();
  const before = page.calls;
  for (const turn of [signsOut, signsIn]) {
    turn(page);
    page.window.metapixel.track('Contact');
    await settle();
  }
  assert.deepEqual([page.calls, heard], [before, ['Contact', 'Contact']]);
  assert.deepEqual(page.postsTo(CONFIG.collect).map(({ events }) => events.length), [2, 1, 1]);
});

test('... and neither does a grant after a withdrawal, with which the server took the mark', async () => {
  const page = visit(knows({ em: EM }));
  page.answers[CONFIG.consent] = ({ choice }) => {
    if (choice === 'withdrawn') signsOut(page);
    return { status: 204 };
  };
  await page.metaLoads();
  const before = page.fired;
  await page.window.metapixel.revoke();
  await page.window.metapixel.grant();
  page.window.metapixel.track('Contact');
  await settle();
  assert.deepEqual(page.fired, before);
});

for (const [who, answer, options] of [
  ['was named by nobody', { status: 403 }, {}],
  ['came without a mark', knows({ em: EM }), { cookies: '' }],
]) {
  test(`a visitor who ${who} may sign in and out, and the browser goes on telling`, async () => {
    const page = visit(answer, options);
    await page.metaLoads();
    for (const turn of [signsIn, signsOut, signsIn]) {
      turn(page);
      page.window.metapixel.track('Contact');
    }
    assert.deepEqual(page.firedNames.slice(2), ['Contact', 'Contact', 'Contact']);
  });
}

test('nobody is asked for before a grant, nor where a tag manager is told', async () => {
  const page = visit(knows({ em: EM }), { config: { provider: 'cookie' } });
  await settle();
  assert.deepEqual(page.posts, []);
  const tagged = visit(knows({ em: EM }), { config: { data_layer: true } });
  await settle();
  assert.deepEqual(tagged.postsTo(URL_OF_IT), []);
});

test('an early script of Meta waits for it after the grant', async () => {
  const scripts = ['consent_cookie.js', ...FILES];
  const page = visit(knows({ em: EM }), { config: { provider: 'cookie', early: true }, scripts });
  await settle();
  assert.deepEqual([page.calls, page.posts], [[['consent', 'revoke']], []]);
  page.answers[CONFIG.consent] = () => ({ status: 204 });
  await page.window.metapixel.grant();
  await settle();
  assert.deepEqual(verbs(page), ['consent', 'consent', 'set', 'init', 'trackSingle', 'trackSingle']);
  assert.deepEqual(inits(page), [['init', PIXEL, { em: EM }]]);
});

test('beside the pixel of somebody else it is told with our init', async () => {
  const fbq = Object.assign((...words) => fbq.queue.push(words), { queue: [] });
  const page = visit(knows({ em: EM }), { window: { fbq } });
  await settle();
  assert.deepEqual(inits(page), [['init', PIXEL, { em: EM }]]);
  page.window.metapixel.revoke(); // theirs is not silenced
  assert.equal(verbs(page).includes('consent'), false);
});

test('an fbq that throws is not noticed by the page', async () => {
  const rejected = [];
  const note = (error) => rejected.push(error);
  process.on('unhandledRejection', note);
  const fbq = () => {
    throw new Error('broken');
  };
  const page = visit(knows({ em: EM }), { window: { fbq } });
  await page.pass(2000);
  process.removeListener('unhandledRejection', note);
  assert.deepEqual([rejected, page.postsTo(CONFIG.collect).length], [[], 1]);
});

test('nothing of the person is written anywhere', async () => {
  const page = visit(knows({ em: EM }));
  await page.pass(2000);
  const written = JSON.stringify([page.jar.writes, page.posts, page.infos, page.elements.map((one) => one.attributes)]);
  assert.equal(written.includes(EM), false);
});

test('it may stand on the page twice', async () => {
  const page = visit(knows({ em: EM }));
  const { matching } = page.window.metapixel;
  page.run('advanced_matching.js');
  assert.equal(page.window.metapixel.matching, matching);
  await settle();
  assert.equal(inits(page).length, 1);
});

test('the automatic events are left on where the owner chose them', () => {
  const page = new Page({ config: { auto_config: true } });
  assert.deepEqual(plain(page.calls.slice(0, 1)), [['init', PIXEL]]);
});

for (const [what, look] of [
  ['brought back by the back button', (page) => page.comeBack()],
  ['looked at again', (page) => page.tell('visibilitychange')],
]) {
  test(`a document of one person that is ${what} while another has signed in tells nobody`, async () => {
    const page = visit(knows({ em: EM }));
    await page.metaLoads();
    const before = page.fired.length;
    page.answers[URL_OF_IT] = knows({ em: 'b'.repeat(64) });
    await look(page);
    page.window.metapixel.track('Contact');
    await page.pass(2000);
    assert.equal(page.fired.length, before);
  });

  test(`a document that is ${what} by the same person goes on telling, in its order`, async () => {
    const page = visit(knows({ em: EM }));
    await page.metaLoads();
    await look(page);
    page.window.metapixel.track('Contact');
    await settle();
    assert.equal(page.firedNames.at(-1), 'Contact');
    assert.equal(inits(page).length, 1);
  });
}

test('a document of somebody of whom the server knows no more tells nobody, for good', async () => {
  const page = visit(knows({ em: EM }));
  await page.metaLoads();
  for (const answer of [knows({}), knows({ em: EM })]) {
    page.answers[URL_OF_IT] = answer;
    await page.tell('visibilitychange');
    page.window.metapixel.track('Contact');
    await settle();
  }
  assert.equal(page.firedNames.includes('Contact'), false);
});

for (const [what, answer] of Object.entries({ 'does not answer': hangs, 'cannot answer': { status: 429 } })) {
  test(`where the server ${what} who it is now, nobody is told until it was asked again`, async () => {
    const page = visit(knows({ em: EM }));
    await page.metaLoads();
    page.answers[URL_OF_IT] = answer;
    await page.tell('visibilitychange');
    page.window.metapixel.track('Contact');
    await page.pass(300);
    page.window.metapixel.track('Contact');
    await settle();
    assert.equal(page.firedNames.includes('Contact'), false);
    page.answers[URL_OF_IT] = knows({ em: EM });
    await page.tell('visibilitychange');
    page.window.metapixel.track('Contact');
    await settle();
    assert.equal(page.firedNames.filter((name) => name === 'Contact').length, 1);
  });
}

test('a document of nobody asks nobody when it is looked at again', async () => {
  const page = visit(knows({ em: EM }), { cookies: '' });
  await page.metaLoads();
  await page.tell('visibilitychange');
  assert.deepEqual(page.postsTo(URL_OF_IT), []);
});
