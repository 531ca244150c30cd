// metapixel.d.ts, read by TypeScript's own compiler. It is not in the tree: METAPIXEL_TEST_TYPESCRIPT names lib/tsc.js
// of what `npm pack typescript@5.9.3` gets; without it these tests are skipped.
'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const TYPES = path.join(__dirname, 'types');
const TSC = process.env.METAPIXEL_TEST_TYPESCRIPT || '';
const skip = !fs.existsSync(TSC) && 'METAPIXEL_TEST_TYPESCRIPT does not name lib/tsc.js of TypeScript';

test('every right use of the types compiles, and every wrong one is an error', { skip }, () => {
  // A mark that marks no mistake is one itself.
  const words = [TSC, '--project', TYPES, '--pretty', 'false'];
  const { stdout, status, error } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  assert.ifError(error);
  assert.deepEqual([stdout, status], ['', 0]);
});

test('every use in wrong.ts is marked as wrong', () => {
  const lines = fs.readFileSync(path.join(TYPES, 'wrong.ts'), 'utf8').split('\n');
  const uses = lines.filter((line) => line.trim() && !/^(\/\/|import |declare )/.test(line));
  const marked = lines.filter((line, at) => lines[at - 1]?.startsWith('// @ts-expect-error: '));
  assert.deepEqual(marked, uses);
});
