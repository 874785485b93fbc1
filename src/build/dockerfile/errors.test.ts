import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quote } from './characters.ts'
import { excerpt } from './errors.ts'
import { suggest } from './suggestion.ts'
import type { Range } from './types.ts'

const lines = (first: number, last = first): Range => ({
  start: { line: first, column: 0 },
  end: { line: last, column: 1 },
})

const text = 'one\ntwo\nthree\nfour\nfive\nsix\nseven'
const bar = '--------------------'

test('an excerpt marks a line and shows two before and after it', () =>
  assert.equal(
    excerpt(text, [lines(4)]),
    `Dockerfile:4\n${bar}\n   2 |     two\n   3 |     three\n   4 | >>> four\n   5 |     five\n   6 |     six\n${bar}\n`,
  ))

test('of several lines, one before and after them', () =>
  assert.equal(
    excerpt(text, [lines(3), lines(4)], 'x'),
    `x:3\n${bar}\n   2 |     two\n   3 | >>> three\n   4 | >>> four\n   5 |     five\n${bar}\n`,
  ))

test('at an end of the file', () => {
  assert.equal(excerpt('a', [lines(1)]), `Dockerfile:1\n${bar}\n   1 | >>> a\n${bar}\n`)
  assert.equal(
    excerpt('a\nb\nc', [lines(1)]),
    `Dockerfile:1\n${bar}\n   1 | >>> a\n   2 |     b\n   3 |     c\n${bar}\n`,
  )
  assert.equal(excerpt('a\nb', [lines(1, 9)]), `Dockerfile:1\n${bar}\n   1 | >>> a\n   2 | >>> b\n${bar}\n`)
})

test('a range that ends where a line begins does not have it', () => {
  const range = { start: { line: 1, column: 0 }, end: { line: 2, column: 0 } }
  assert.match(excerpt('a\nb', [range]), / {3}1 \| >>> a\n {3}2 \| {5}b/)
})

test('without a place there is none', () => {
  assert.equal(excerpt(text, []), '')
  assert.equal(excerpt(text, [lines(9)]), '')
})

test('what was meant is within two edits', () => {
  assert.equal(suggest('ab', ['abcd', 'abc']), 'abc')
  assert.equal(suggest('target', ['source', 'target']), undefined)
  assert.equal(suggest('xyz', ['abc']), undefined)
  assert.equal(suggest('kitten', ['sitting', 'mitten']), 'mitten')
})

test('quotes are those of Go', () =>
  assert.equal(quote('a"\\\n\u0007\u000b\u0001é \u00a0\x7f👍'), '"a\\"\\\\\\n\\a\\v\\x01é \\u00a0\\x7f👍"'))
