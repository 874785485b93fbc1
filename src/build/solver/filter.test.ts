import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasCode } from '../../core/errors.ts'
import { Filters } from '../../wire/filters.ts'
import { parseRowFilters, pruneFilterKeys, readPruneFilters } from './filter.ts'
import { rowOf } from './testing/rows.ts'

const row = rowOf({
  id: 'abc123',
  kind: 'source.local',
  description: 'local source for context',
  parents: ['p1', 'p2'],
  shared: true,
  mutable: true,
})

const matches = (...texts: string[]): boolean => parseRowFilters(texts)(row)

test('none is all', () => {
  assert.equal(matches(), true)
  assert.equal(matches(''), true)
})

test('equal, unlike, and expressions', () => {
  assert.equal(matches('id==abc123'), true)
  assert.equal(matches('id==abc'), false)
  assert.equal(matches('id~=^abc'), true)
  assert.equal(matches('type!=regular'), true)
  assert.equal(matches('description=="local source for context"'), true)
  assert.equal(matches('description~=/source\\b/'), true)
  assert.equal(matches('parents~=p2'), true)
})

test('flags are there or not', () => {
  assert.deepEqual(
    ['inuse', 'shared', 'private', 'mutable', 'immutable', 'nosuch'].map(text => matches(text)),
    [false, true, false, true, false, false],
  )
})

test('all of one, any of several', () => {
  assert.equal(matches('id~=abc,shared'), true)
  assert.equal(matches('id~=abc,private'), false)
  assert.equal(matches('id~=abc,private', 'mutable'), true)
})

test('what is no filter is refused', () => {
  for (const text of ['==', 'id==', 'id=a', 'id==a,', 'id~=(', ',', 'id==a b', '"', 'id=="a'])
    assert.throws(
      () => parseRowFilters([text]),
      error => hasCode(error, 'bad-request'),
      text,
    )
})

test('any text is a filter or refused', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[id"~=!,\\|/a. ]*$/))
  fc.assert(
    fc.property(text, text => {
      try {
        assert.equal(typeof parseRowFilters([text])(row), 'boolean')
      } catch (error) {
        assert.ok(hasCode(error, 'bad-request'))
      }
    }),
  )
})

const now = Date.parse('2026-01-02T00:00:00Z')

const docker = (filters: Record<string, string[]>) =>
  readPruneFilters(Filters.parse(JSON.stringify(filters), pruneFilterKeys), now)

test('Docker’s filters all have to hold', () => {
  const holds = (filters: Record<string, string[]>) => docker(filters).filter(row)
  assert.equal(holds({}), true)
  assert.equal(holds({ id: ['^abc'], type: ['source.local'] }), true)
  assert.equal(holds({ type: ['regular'] }), false)
  assert.equal(holds({ parent: ['p2'] }), true)
  assert.equal(holds({ parent: ['p'] }), false)
  assert.equal(holds({ description: ['local source for context'] }), true)
  assert.equal(holds({ shared: ['true'], mutable: ['1'], private: ['false'], inuse: ['0'] }), true)
  assert.equal(holds({ shared: ['false'] }), false)
})

test('until is a point in time or a while ago, as is unused-for', () => {
  assert.equal(docker({ until: ['2026-01-01T00:00:00Z'] }).keepDuration, 24 * 3_600_000)
  const ago = docker({ 'unused-for': ['24h'] }).keepDuration
  // Counted from the clock of the process.
  assert.equal(Math.round((ago - (now - Date.now())) / 60_000), 24 * 60)
})

test('what Docker refuses is refused in its words', () => {
  assert.throws(() => docker({ id: ['a', 'b'] }), /^BerthError: filters expect only one value$/)
  assert.throws(
    () => docker({ until: ['1h'], 'unused-for': ['1h'] }),
    /conflicting filters: "until" and "unused-for"/,
  )
  assert.throws(
    () => docker({ until: ['soon'] }),
    /"until" filter expects a duration \(e.g., '24h'\) or a timestamp/,
  )
  assert.throws(() => docker({ nosuch: ['1'] }), /invalid filter 'nosuch'/)
})
