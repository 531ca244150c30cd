'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Page, plain } = require('./browser.js');

const NOW = 1795322685020;
const OLD = 'fb.1.1500000000000.OLD';

const open = (options) => new Page({ config: null, scripts: ['first_party_cookies.js'], ...options });
const ensure = (options) => {
  const page = open(options);
  return { page, ...plain(page.window.metapixel.cookies.ensure()) };
};
const fbc = (options) => ensure(options).fbc;

test('nothing is read or written before it is asked for', () => {
  assert.deepEqual(open({ url: 'https://www.example.com/?fbclid=AbC' }).jar.writes, []);
});

test('a new _fbp is made in the format of Meta and stored for 90 days', () => {
  const { page, fbp, fbc: none, domain } = ensure();
  assert.match(fbp, /^fb\.1\.1795322685020\.\d{18}$/);
  assert.deepEqual([none, domain], [null, 'example.com']);
  const [cookie, ...more] = page.jar.cookies;
  assert.deepEqual(more, []);
  assert.deepEqual([cookie.name, cookie.value, cookie.domain], ['_fbp', fbp, 'example.com']);
  assert.deepEqual(cookie.attributes, {
    path: '/', 'max-age': '7776000', samesite: 'lax', domain: 'example.com', secure: true,
  });
});

test('two browsers get two ids, without crypto as well', () => {
  const ids = [{}, {}, { window: { crypto: undefined } }, { window: { crypto: undefined } }].map((one) => ensure(one).fbp);
  assert.equal(new Set(ids).size, 4);
  ids.forEach((id) => assert.match(id, /^fb\.1\.\d{13}\.\d{18}$/));
});

test('an id is made of two random numbers of the browser', () => {
  const crypto = { getRandomValues: (numbers) => (numbers.set([4294967295, 42]), numbers) };
  assert.equal(ensure({ window: { crypto } }).fbp.split('.')[3], '529496729500000042');
});

test('where the site leaves the cookies to the script of Meta they are only read', () => {
  const options = { url: 'https://example.com/?fbclid=AbC', config: { cookies: false } };
  const { page, ...none } = ensure(options);
  assert.deepEqual([none, page.jar.writes], [{ fbp: null, fbc: null, domain: null }, []]);
  const { fbp, fbc: click } = ensure({ ...options, cookies: '_fbp=fb.1.1500000000000.99; _fbc=fb.1.1500000000000.Old' });
  assert.deepEqual([fbp, click], ['fb.1.1500000000000.99', 'fb.1.1500000000000.Old']);
});

test('on plain http the cookies are not Secure', () => {
  const { page, fbp } = ensure({ url: 'http://www.example.com/' });
  assert.equal(page.jar.get('_fbp'), fbp);
  assert.equal(page.jar.cookies[0].attributes.secure, undefined);
});

for (const [url, domain, index] of [
  ['https://example.com/', 'example.com', 1],
  ['https://a.b.c.example.com/', 'example.com', 1],
  ['https://shop.example.co.uk/', 'example.co.uk', 2],
  ['https://example.co.uk/', 'example.co.uk', 2],
  ['http://localhost:8000/', null, 0],
  ['http://127.0.0.1:8000/', null, 0],
  ['http://[::1]:8080/', null, 0],
  ['http://intranet/', null, 0],
  ['https://co.uk/', null, 1],
]) {
  test(`${url} keeps its cookies on ${domain || 'the host'}`, () => {
    const { page, fbp, domain: stuck } = ensure({ url });
    assert.deepEqual([stuck, fbp.split('.')[1]], [domain, String(index)]);
    assert.deepEqual(page.jar.cookies.map((cookie) => [cookie.name, cookie.domain]), [['_fbp', domain]]);
  });
}

test('the domain is tried once, and the trial leaves nothing behind', () => {
  const page = open();
  page.window.metapixel.cookies.ensure();
  const { length } = page.jar.writes;
  page.window.metapixel.cookies.ensure();
  assert.equal(page.jar.writes.length, length);
  assert.equal(page.jar.text.includes('probe'), false);
});

test('valid cookies are never rewritten', () => {
  for (const [fbp, click] of [
    ['fb.1.1500000000000.99', 'fb.1.1500000000000.AbC-_9'],
    ['fb.0.1736063807103.526608478763752515', 'fb.2.1500000000000.AbC'],
    ['fb.1.1500000000000.99.AQIDAQMC', 'fb.1.1500000000000.AbC.AQ'],
  ]) {
    const { page, ...answer } = ensure({ cookies: `_fbp=${fbp}; _fbc=${click}` });
    assert.deepEqual([answer.fbp, answer.fbc], [fbp, click]);
    assert.equal(page.jar.writes.some((line) => line.startsWith('_fb')), false);
  }
});

test('malformed cookies are replaced', () => {
  for (const bad of ['', 'garbage', 'undefined', 'GA1.2.3.4', 'fb.1.abc.9', 'fb.1.1500000000.9', 'xx.1.1500000000000.9', 'fb.1.1500000000000.x9', 'fb.1.1500000000000.', 'fb.1.1500000000000.9.!!', 'fb.1.1500000000000.9.AQ.AQ']) {
    const { page, fbp } = ensure({ cookies: `_fbp=${bad}` });
    assert.match(fbp, /^fb\.1\.1795322685020\.\d{18}$/);
    assert.deepEqual(page.jar.cookies.map((cookie) => cookie.value), [fbp]);
  }
});

test('a malformed _fbc counts as none and is replaced once a click id is known', () => {
  assert.equal(fbc({ cookies: '_fbc=x.y' }), null);
  const { page, fbc: made } = ensure({ cookies: '_fbc=x.y', url: 'https://example.com/?fbclid=AbC' });
  assert.equal(made, `fb.1.${NOW}.AbC`);
  assert.equal(page.jar.get('_fbc'), made);
});

test('of two cookies of one name the first valid one counts', () => {
  const page = open({ cookies: '_fbp=junk' });
  page.jar.text = '_fbp=fb.1.1500000000000.99; Domain=example.com';
  assert.equal(page.window.metapixel.cookies.ensure().fbp, 'fb.1.1500000000000.99');
  assert.equal(page.jar.cookies.length, 2);
});

test('the click id comes from the address, as it is', () => {
  assert.equal(fbc({ url: 'https://example.com/?a=1&fbclid=IwAR2F4-dbP0l7_Mn1#x' }), `fb.1.${NOW}.IwAR2F4-dbP0l7_Mn1`);
});

test('of a repeated click id the first counts', () => {
  assert.equal(fbc({ url: 'https://example.com/?fbclid=One&fbclid=Two' }), `fb.1.${NOW}.One`);
});

test('what is not a click id is ignored', () => {
  for (const bad of ['', 'a.b', 'a b', 'a%3Cb', '%00', 'ż', 'x'.repeat(501)]) {
    const { page, fbc: made } = ensure({ url: `https://example.com/?fbclid=${bad}` });
    assert.deepEqual([made, page.jar.get('_fbc')], [null, null]);
  }
  assert.equal(fbc({ url: `https://example.com/?fbclid=${'x'.repeat(500)}` }).length, 'fb.1..'.length + 13 + 500);
});

test('the same click keeps its first time; another one, also in case, replaces it', () => {
  const cookies = '_fbc=fb.1.1500000000000.AbC.AQIDAQMC';
  assert.equal(fbc({ cookies, url: 'https://example.com/?fbclid=AbC' }), 'fb.1.1500000000000.AbC.AQIDAQMC');
  assert.equal(fbc({ cookies, url: 'https://example.com/?fbclid=abc' }), `fb.1.${NOW}.abc`);
  assert.equal(fbc({ cookies: `_fbc=fb.1.${NOW - 1}.AbC`, url: 'https://example.com/?fbclid=New' }), `fb.1.${NOW}.New`);
});

test('a changed click leaves one cookie', () => {
  const { page, fbc: made } = ensure({ cookies: `_fbc=${OLD}`, url: 'https://example.com/?fbclid=New' });
  assert.deepEqual(page.jar.cookies.filter((cookie) => cookie.name === '_fbc').map((cookie) => cookie.value), [made]);
});

test('next comes the page this one was reached from, if it is one of ours', () => {
  const url = 'https://example.com/two/';
  assert.equal(fbc({ url, referrer: 'https://example.com/?fbclid=Ref' }), `fb.1.${NOW}.Ref`);
  assert.equal(fbc({ url, referrer: 'https://l.facebook.com/?fbclid=Ref' }), null);
  assert.equal(fbc({ url, referrer: 'http://example.com/?fbclid=Ref' }), null);
  assert.equal(fbc({ url: url + '?fbclid=Here', referrer: 'https://example.com/?fbclid=Ref' }), `fb.1.${NOW}.Here`);
});

test('last come the earlier pages of this visit, the newest first', () => {
  const url = 'https://example.com/three/';
  const history = ['https://example.com/?fbclid=First', 'https://example.com/?fbclid=Second', null, '', url];
  assert.equal(fbc({ url, history }), `fb.1.${NOW}.Second`);
  assert.equal(fbc({ url, history, referrer: 'https://example.com/?fbclid=Ref' }), `fb.1.${NOW}.Ref`);
  assert.equal(fbc({ url, history: ['https://other.example/?fbclid=Foreign', url] }), null);
});

test('a remembered click id does not push out one stored within this visit', () => {
  const url = 'https://example.com/three/';
  const history = ['https://example.com/?fbclid=First', url];
  const minutes = (many) => `_fbc=fb.1.${NOW - many * 60000}.Tab2`;
  assert.equal(fbc({ url, history, cookies: minutes(29) }), `fb.1.${NOW - 29 * 60000}.Tab2`);
  assert.equal(fbc({ url, history, cookies: minutes(31) }), `fb.1.${NOW}.First`);
});

test('a browser without the Navigation API, or with a broken one, is fine', () => {
  const navigation = { entries: () => { throw new Error('detached'); } };
  for (const window of [{ navigation: undefined }, { navigation }, { navigation: { entries: () => null } }]) {
    assert.equal(fbc({ window }), null);
  }
});

test('blocked cookies give nulls', () => {
  const page = open({ url: 'https://example.com/?fbclid=AbC' });
  page.jar.blocked = true;
  assert.deepEqual(plain(page.window.metapixel.cookies.ensure()), { fbp: null, fbc: null, domain: null });
  page.window.metapixel.cookies.forget();
});

test('forget() deletes both, on the host and on every domain', () => {
  const page = open({ url: 'https://a.shop.example.co.uk/', cookies: '_fbp=1; _fbc=2; a=b' });
  for (const domain of ['example.co.uk', 'shop.example.co.uk']) {
    page.jar.text = `_fbp=3; Domain=${domain}`;
    page.jar.text = `_fbc=4; Domain=${domain}`;
  }
  page.window.metapixel.cookies.forget();
  assert.equal(page.jar.text, 'a=b');
});

test('the file may stand on the page twice', () => {
  const page = open();
  const { cookies } = page.window.metapixel;
  page.run('first_party_cookies.js');
  assert.equal(page.window.metapixel.cookies, cookies);
});

for (const [told, url, domain, index] of [
  ['shop.example.com', 'https://www.shop.example.com/', 'shop.example.com', 2],
  ['example.com', 'https://www.shop.example.com/', 'example.com', 1],
  ['example.org', 'https://www.shop.example.com/', 'example.com', 1],
  ['co.uk', 'https://www.shop.co.uk/', 'shop.co.uk', 2],
  ['0.0.1', 'http://127.0.0.1:8000/', null, 0],
]) {
  test(`with "domain": "${told}" ${url} keeps its cookies on ${domain || 'the host'}`, () => {
    const { page, fbp, domain: stuck } = ensure({ url, config: { domain: told } });
    assert.deepEqual([stuck, fbp.split('.')[1]], [domain, String(index)]);
    assert.deepEqual(page.jar.cookies.map((cookie) => [cookie.name, cookie.domain]), [['_fbp', domain]]);
  });
}

test('an id that lies on another domain already is not made a second time', () => {
  const page = open({ url: 'https://www.shop.example.com/', config: { domain: 'shop.example.com' } });
  page.jar.text = '_fbp=fb.1.1500000000000.99; Domain=example.com';
  assert.equal(page.window.metapixel.cookies.ensure().fbp, 'fb.1.1500000000000.99');
  assert.deepEqual(page.jar.cookies.map((cookie) => cookie.domain), ['example.com']);
});

const BACK = '_fbp=fb.1.1500000000000.123; Path=/; Domain=example.com';

test('a late answer to a post from before the no does not bring them back', async () => {
  const { page } = ensure();
  page.window.metapixel.cookies.forget();
  await page.pass(900);
  page.jar.text = BACK;
  await page.pass(100);
  assert.equal(page.jar.get('_fbp'), null);
  await page.pass(2000);
  page.jar.text = BACK;
  await page.pass(27000);
  assert.equal(page.jar.get('_fbp'), null);
});

test('what a yes after the no makes stays', async () => {
  const { page } = ensure();
  page.window.metapixel.cookies.forget();
  const { fbp } = page.window.metapixel.cookies.ensure();
  await page.pass(30000);
  assert.equal(page.jar.get('_fbp'), fbp);
});
