import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planCleanUp } from './plan.ts'
import { cleanUpRules } from './rules.ts'
import type { Unused } from './types.ts'

const hour = 3_600_000
const now = 1000 * hour

const unused = (name: string, hours: number, more: Partial<Unused> = {}): Unused => ({
  ...{ type: 'container', id: name, name, labels: {}, lastNeeded: now - hours * hour, bytes: 100 },
  ...more,
})

const plan = (rules: Record<string, unknown>, objects: Unused[]) =>
  planCleanUp(cleanUpRules('clean-up', rules), objects, now)

const names = (list: { name: string }[]): string[] => list.map(({ name }) => name)

test('what was not needed for longer than max-age goes, the oldest first', () => {
  const { removals, stays, bytes } = plan({ containers: { 'max-age': '24h' } }, [
    unused('old', 25),
    unused('young', 23),
    unused('older', 900),
  ])
  assert.deepEqual([names(removals), names(stays), bytes], [['older', 'old'], ['young'], 200])
  assert.equal(removals[1]?.why, 'not needed for 25h, longer than max-age 24h')
})

test('the longest unused go until max-size holds, and what takes nothing stays', () => {
  const { removals } = plan({ volumes: { 'max-size': '250' } }, [
    ...['a', 'b', 'c', 'd'].map((name, index) => unused(name, 9 - index, { type: 'volume' })),
    unused('empty', 99, { type: 'volume', bytes: 0 }),
  ])
  assert.deepEqual(names(removals), ['a', 'b'])
  assert.equal(removals[0]?.why, 'unused volumes take 400 B, more than max-size 250 B')
})

test('the last ones stay, and those that a rule keeps', () => {
  const { removals, stays } = plan(
    { networks: { 'max-age': '1h', 'keep-last': 1, keep: ['label=keep', 'label!=ci', 'name=base-*'] } },
    [
      unused('a', 9, { type: 'network', labels: { ci: '' } }),
      unused('kept', 8, { type: 'network', labels: { keep: '1', ci: '' } }),
      unused('other', 7, { type: 'network' }),
      unused('base-1', 6, { type: 'network', labels: { ci: '' } }),
      unused('last', 5, { type: 'network', labels: { ci: '' } }),
    ],
  )
  assert.deepEqual(names(removals), ['a'])
  assert.deepEqual(
    stays.map(({ why }) => why),
    ['kept by label=keep', 'kept by label!=ci', 'kept by name=base-*', 'one of the last 1'],
  )
})

test('a kind without rules is left alone, and rules of others do not count for it', () => {
  const { removals, stays } = plan({ networks: { 'max-age': '1h' } }, [unused('a', 9)])
  assert.deepEqual([removals, stays], [[], []])
})

test('a plan has the id of what it removes', () => {
  const of = (...objects: Unused[]) => plan({ containers: { 'max-age': '1h' } }, objects).id
  assert.equal(of(unused('a', 5)), of(unused('a', 6), unused('b', 0)))
  assert.notEqual(of(unused('a', 5)), of(unused('b', 5)))
})

test('wrong rules are told by their place', () => {
  const cases: [object, RegExp][] = [
    [{ images: {} }, /^clean-up: unknown images: use containers, networks, volumes$/],
    [{ containers: 1 }, /^invalid value 1 for clean-up: containers: want an object with max-age/],
    [{ containers: {} }, /^clean-up: containers: no limit is set: give max-age or max-size$/],
    [{ networks: { 'max-size': '1g' } }, /^clean-up: networks: unknown max-size: use max-age/],
    [{ volumes: { 'max-age': 'x' } }, /^invalid value "x" for clean-up: volumes: max-age: want a duration/],
    [
      { volumes: { 'max-age': '1h', keep: ['a'] } },
      /^invalid value "a" for clean-up: volumes: keep: want a list/,
    ],
    [{ containers: { 'max-age': '1h', 'keep-last': -1 } }, /keep-last: want a number of objects$/],
    [{ volumes: { 'max-age': '1h', named: 1 } }, /named: want true or false$/],
  ]
  for (const [rules, why] of cases) {
    assert.throws(
      () => cleanUpRules('clean-up', rules as Record<string, unknown>),
      (error: Error) => why.test(error.message),
      JSON.stringify(rules),
    )
  }
})
