import assert from 'node:assert/strict'
import { test } from 'node:test'
import { detectDirective, detectSyntax } from './directives.ts'

const syntaxes: [text: string, value: string | undefined, line?: number][] = [
  ['# syntax=a/b:1', 'a/b:1', 1],
  ['#syntax = a/b \nFROM x', 'a/b', 1],
  ['#  SYNTAX=a b=c', 'a', 1],
  ['# escape=`\n# syntax=a\r\n', 'a', 2],
  ['#!/usr/bin/x\n# syntax=a', 'a', 2],
  ['\ufeff# syntax=a', 'a', 1],
  ['// syntax=a\nwhat', 'a', 1],
  ['{"syntax": "a b", "other": 1}', 'a b', 1],
  ['{"syntax": 1}', undefined],
  ['{"syntax": "a"', undefined],
  ['[1]', undefined],
  ['# comment\n# syntax=a', undefined],
  ['\n# syntax=a', undefined],
  ['FROM x\n# syntax=a', undefined],
  ['# other=1\n# syntax=a', undefined],
  ['# syntax=', undefined],
  ['# syntax a', undefined],
  ['# 1syntax=a', undefined],
  ['', undefined],
]
for (const [text, value, line] of syntaxes)
  test(`${JSON.stringify(text)} is in ${value ?? 'the usual syntax'}`, () => {
    const found = detectSyntax(text)
    assert.equal(found?.value, value)
    assert.equal(found?.range.start.line, line)
  })

test('all words of a syntax are what its frontend is called with', () =>
  assert.equal(detectSyntax('# syntax=a b=c  d')?.commandLine, 'a b=c  d'))

test('a directive knows its place', () =>
  assert.deepEqual(detectDirective('# check = skip=all ; x', 'check'), {
    value: 'skip=all',
    commandLine: 'skip=all ; x',
    range: { start: { line: 1, column: 10 }, end: { line: 1, column: 18 } },
  }))
