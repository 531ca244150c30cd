'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Page, source } = require('./browser.js');

// What a site may lean on; the companions' own names are not for it.
const INTERNAL = ['attributes', 'cookies', 'matching', 'meta', 'singlePage', 'swaps'];

const declared = () => {
  const [, body] = source('metapixel.d.ts').match(/export interface Metapixel \{\n([\s\S]*?)\n\}/);
  return [...new Set([...body.matchAll(/^ {2}(\w+)\??[(:]/gm)].map(([, name]) => name))].sort();
};

test('the types name what is there, and nothing else', () => {
  const scripts = [
    'consent_cookie.js', 'first_party_cookies.js', 'advanced_matching.js', 'meta_script.js', 'page_swaps.js', 'html_attributes.js', 'single_page.js', 'metapixel.js',
  ];
  const page = new Page({ scripts });
  const there = Object.keys(page.window.metapixel).filter((name) => !INTERNAL.includes(name));
  assert.deepEqual(declared(), there.sort());
});

test('the types know the events that are taken', () => {
  const [, names] = source('metapixel.d.ts').match(/type UnsignedEventName = (.+);/);
  const page = new Page({ config: { page_view: false } });
  names.split(' | ').forEach((name) => page.window.metapixel.track(JSON.parse(name)));
  assert.deepEqual([page.firedNames.length, page.infos], [4, []]);
});
