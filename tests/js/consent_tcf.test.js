'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answer, mirror, open, settle, withdrawals } = require('./consent_page.js');

const NAMES = { purposes: [1, 3, 4, 7], vendor: 891, provider: null };

const tcData = ({ purposes = [1, 3, 4, 7], vendors = [891], ...rest } = {}) => {
  const bits = (ids) => Object.fromEntries(ids.map((id) => [id, true]));
  return {
    gdprApplies: true,
    eventStatus: 'useractioncomplete',
    purpose: { consents: bits(purposes) },
    vendor: { consents: { ...bits(vendors), 12: false } },
    ...rest,
  };
};

// The API that every tool of the framework offers.
const tcf = () => {
  const listeners = [];
  const api = (command, version, callback) => {
    assert.deepEqual([command, version], ['addEventListener', 2]);
    listeners.push(callback);
  };
  const say = async (data, success = true) => {
    listeners.forEach((callback) => callback(data, success));
    await settle();
  };
  return { api, say, listeners };
};
const start = (names = NAMES, options = {}) => {
  const tool = tcf();
  const page = open('tcf', { names, window: { __tcfapi: tool.api }, ...options });
  return { page, tool };
};

test('before an answer it is unknown', async () => {
  const { page, tool } = start();
  assert.equal(answer(page), 'unknown');
  await tool.say(tcData({ eventStatus: 'cmpuishown' }));
  assert.deepEqual([answer(page), page.scripts, mirror(page)], ['unknown', [], null]);
});

for (const eventStatus of ['tcloaded', 'useractioncomplete']) {
  test(`${eventStatus} with all purposes and the vendor is a yes, mirrored for the server`, async () => {
    const { page, tool } = start();
    await tool.say(tcData({ eventStatus }));
    assert.deepEqual([answer(page), mirror(page), page.firedNames], ['granted', 'granted', ['PageView']]);
  });
}

for (const [what, data] of [
  ['the vendor', { vendors: [] }],
  ['another vendor only', { vendors: [8, 91] }],
  ['one purpose', { purposes: [1, 3, 4] }],
  ['everything', { purposes: [], vendors: [] }],
]) {
  test(`without ${what} it is a no, mirrored`, async () => {
    const { page, tool } = start();
    await tool.say(tcData(data));
    assert.deepEqual([answer(page), mirror(page), page.scripts], ['denied', 'denied', []]);
  });
}

test('a change of mind: the server is told, and back again', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  await tool.say(tcData({ vendors: [] }));
  assert.deepEqual([answer(page), mirror(page), withdrawals(page)], ['denied', 'denied', 1]);
  await tool.say(tcData());
  assert.deepEqual([answer(page), mirror(page)], ['granted', 'granted']);
});

test('a dialogue that is opened again changes nothing yet', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  await tool.say(tcData({ eventStatus: 'cmpuishown', vendors: [] }));
  assert.deepEqual([answer(page), mirror(page)], ['granted', 'granted']);
});

test('a visitor who is asked anew has no mirror of yesterday', async () => {
  const { page, tool } = start(NAMES, { cookies: 'metapixel_choice=granted' });
  assert.equal(mirror(page), 'granted');
  await tool.say(tcData({ eventStatus: 'cmpuishown' }));
  assert.equal(mirror(page), null);
});

for (const [what, data, success] of [
  ['where the law does not apply', tcData({ gdprApplies: false })],
  ['where nobody knows whether it applies', tcData({ gdprApplies: undefined })],
  ['of the global scope', tcData({ isServiceSpecific: false })],
  ['without consents', tcData({ purpose: undefined })],
  ['without vendors', tcData({ vendor: {} })],
  ['as a text', 'CPXxRfAPXxRfAAfKABENB'],
  ['as nothing', null],
  ['with another status', tcData({ eventStatus: 'somethingnew' })],
  ['without success', tcData(), false],
  ['with success in words', tcData(), 'true'],
]) {
  test(`data ${what} is unknown`, async () => {
    const { page, tool } = start();
    await tool.say(data, success);
    assert.deepEqual([answer(page), page.scripts], ['unknown', []]);
  });
}

for (const [type, expected] of [[0, 'denied'], [1, 'granted'], [2, 'denied']]) {
  test(`a restriction of type ${type} by the publisher: ${expected}`, async () => {
    const { page, tool } = start();
    await tool.say(tcData({ publisher: { restrictions: { 4: { 891: type, 12: 0 } } } }));
    assert.equal(answer(page), expected);
  });
}

test('the first call, made at once with half the data, says nothing', async () => {
  const { page, tool } = start(NAMES, { cookies: 'metapixel_choice=granted' });
  await tool.say({ gdprApplies: true, cmpStatus: 'loading', listenerId: 1 });
  assert.deepEqual([answer(page), mirror(page)], ['unknown', 'granted']);
});

test('where the law does not apply any more the mirror goes', async () => {
  const { page, tool } = start(NAMES, { cookies: 'metapixel_choice=granted' });
  await tool.say({ gdprApplies: false, tcfPolicyVersion: 4, cmpId: 7, cmpVersion: 1 });
  assert.deepEqual([answer(page), mirror(page)], ['unknown', null]);
});

test('a yes in another type is no yes', async () => {
  const { page, tool } = start();
  await tool.say(tcData({ vendor: { consents: { 891: 1 } } }));
  assert.notEqual(answer(page), 'granted');
});

for (const names of [
  { purposes: [1, 3, 4, 7], vendor: null, provider: null },
  { purposes: [], vendor: 891, provider: null },
  {},
  undefined,
]) {
  test(`configured as ${JSON.stringify(names)} nothing is ever granted`, async () => {
    const { page, tool } = start(null, { config: { tool: names } });
    await tool.say(tcData());
    assert.equal(answer(page), 'unknown');
  });
}

const PROVIDER = { ...NAMES, vendor: null, provider: 89 };

for (const [addtlConsent, expected] of [
  ['1~12.89.500', 'granted'],
  ['2~12.89~dv.1.2', 'granted'],
  ['2~89~dv.', 'granted'],
  ['2~12~dv.89', 'denied'],
  ['2~~dv.89', 'denied'],
  ['1~', 'denied'],
  ['1~890.189.8.9', 'denied'],
  ['3~89', 'unknown'],
  ['89', 'unknown'],
  ['1~89 ', 'unknown'],
  ['', 'unknown'],
  [undefined, 'unknown'],
  [89, 'unknown'],
]) {
  test(`additional consent ${JSON.stringify(addtlConsent)} is ${expected}`, async () => {
    const { page, tool } = start(PROVIDER);
    await tool.say(tcData({ vendors: [], addtlConsent }));
    assert.equal(answer(page), expected);
  });
}

test('with both numbers both have to be allowed', async () => {
  const { page, tool } = start({ ...NAMES, provider: 89 });
  await tool.say(tcData({ addtlConsent: '2~12~dv.89' }));
  assert.equal(answer(page), 'denied');
  await tool.say(tcData({ addtlConsent: '2~89~dv.12' }));
  assert.equal(answer(page), 'granted');
});

test('a tool that loads late is found', async () => {
  const page = open('tcf', { names: NAMES });
  const tool = tcf();
  await page.pass(5000);
  page.window.__tcfapi = tool.api;
  await page.pass(30000);
  await tool.say(tcData());
  assert.deepEqual([tool.listeners.length, page.firedNames], [1, ['PageView']]);
});

test('a tool that never loads is unknown, and the search ends', async () => {
  const page = open('tcf', { names: NAMES });
  for (let round = 0; round < 20; round += 1) await page.pass(120000);
  assert.deepEqual([answer(page), page.timers.length], ['unknown', 0]);
});

test('a tool that throws is asked again', async () => {
  const tool = tcf();
  let calls = 0;
  const throwing = (...args) => {
    calls += 1;
    if (calls === 1) throw new Error('not ready');
    tool.api(...args);
  };
  const page = open('tcf', { names: NAMES, window: { __tcfapi: throwing } });
  await page.pass(1000);
  await tool.say(tcData());
  assert.equal(answer(page), 'granted');
});

// Other pages of the visitor

const DENIED = 'metapixel_choice=denied; Path=/; Max-Age=86400';

for (const [what, look] of [
  ['is looked at again', (page) => page.tell('visibilitychange')],
  ['is closed', (page) => page.leave()],
  ['comes back from the cache', async (page) => {
    await page.leave();
    await page.comeBack();
  }],
  ['is told to look again', (page) => page.tell('metapixel:consent')],
]) {
  test(`a page with an old yes that ${what} leaves the newer no`, async () => {
    const { page, tool } = start();
    await tool.say(tcData({ eventStatus: 'tcloaded' }));
    await page.metaLoads();
    page.jar.text = DENIED;
    await look(page);
    await page.pass(500);
    page.window.metapixel.track('Contact');
    await page.pass(2000);
    assert.deepEqual([answer(page), mirror(page), page.firedNames], ['denied', 'denied', ['PageView']]);
    assert.equal(page.jar.get('_fbp'), null);
  });
}

test('a dialogue that is opened again on a page with an old yes leaves the newer no', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  page.jar.text = DENIED;
  await tool.say(tcData({ eventStatus: 'cmpuishown' }));
  await page.pass(500);
  assert.deepEqual([answer(page), mirror(page)], ['denied', 'denied']);
});

test('a yes given anew on that page counts, though it is the same word', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  page.jar.text = DENIED;
  await page.tell('visibilitychange');
  assert.equal(page.jar.get('metapixel_consent'), 'denied');
  await tool.say(tcData());
  await page.pass(500);
  assert.deepEqual([answer(page), mirror(page), page.jar.get('metapixel_consent')], ['granted', 'granted', null]);
});

test('a yes given anew does not lift an objection told to us', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  page.window.metapixel.revoke();
  await page.tell('visibilitychange');
  await tool.say(tcData());
  await page.pass(500);
  assert.deepEqual([answer(page), page.jar.get('metapixel_consent')], ['denied', 'denied']);
});

test('a new page with a yes of the tool takes the place of an old no', async () => {
  const { page, tool } = start(NAMES, { cookies: 'metapixel_choice=denied' });
  await tool.say(tcData({ eventStatus: 'tcloaded' }));
  assert.deepEqual([answer(page), mirror(page)], ['granted', 'granted']);
});

test('a page made before anybody looked at it does not outweigh a no told meanwhile', async () => {
  const { page, tool } = start(NAMES, { prerendering: true });
  await tool.say(tcData({ eventStatus: 'tcloaded' }));
  page.jar.text = DENIED;
  page.document.prerendering = false;
  await page.tell('prerenderingchange');
  await page.pass(500);
  assert.deepEqual([answer(page), mirror(page), page.scripts], ['denied', 'denied', []]);
});

test('a yes that this page remembers ends when the tool asks again on another page', async () => {
  const { page, tool } = start();
  await tool.say(tcData());
  await page.metaLoads();
  page.jar.text = 'metapixel_choice=; Path=/; Max-Age=0';
  await page.comeBack();
  await page.pass(2000);
  assert.deepEqual([answer(page), page.firedNames], ['unknown', ['PageView']]);
});
