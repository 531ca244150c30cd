'use strict';
const assert = require('node:assert/strict');
const zlib = require('node:zlib');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { STATIC, source } = require('./browser.js');

const FILES = fs.readdirSync(STATIC).filter((name) => name.endsWith('.js'));
const COMPANIONS = FILES.filter((name) => name !== 'metapixel.js');
// Level 6, as most servers take; nginx told nothing takes level 1: docs/browser.md has that figure, too.
const served = (name) => zlib.gzipSync(source(name), { level: 6 }).length;

test('the core is at most 4 kB as served, comments included', () => {
  assert.ok(served('metapixel.js') <= 4096, `${served('metapixel.js')} bytes`);
});

test('the companions stay small', () => {
  COMPANIONS.forEach((name) => assert.ok(served(name) <= 2816, `${name}: ${served(name)} bytes`));
});

test('docs/browser.md tells the measured sizes', () => {
  const text = fs.readFileSync(path.join(STATIC, '..', '..', '..', 'docs', 'browser.md'), 'utf8');
  FILES.forEach((name) => {
    const [, told] = text.match(new RegExp(`\\| \`${name}\` \\| ([\\d,]+) \\|`)) || [];
    // Builds of zlib differ by a few bytes.
    assert.ok(Math.abs(Number(told.replace(',', '')) - served(name)) <= 32, `${name}: ${served(name)}, not ${told}`);
  });
});

test('no file runs text as code or writes HTML', () => {
  FILES.forEach((name) => assert.doesNotMatch(source(name), /\beval\b|new Function|innerHTML|document\.write|\son\w+=/, name));
});
