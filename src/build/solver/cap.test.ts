import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { chooseOverCap, worthOf } from './cap.ts'
import { ids, rowOf } from './testing/rows.ts'
import type { UsageRow } from './usage.ts'

const week = 7 * 24 * 3_600_000
const now = 10 * week

const over = (rows: UsageRow[], cap: number): string[] => ids(chooseOverCap(rows, { cap, now }))

const row = (id: string, own: Partial<UsageRow> = {}) => rowOf({ id, lastUsedAt: now, ...own })

test('what took long is worth more than what did not, and small more than large', () => {
  assert.deepEqual(over([row('slow', { duration: 60_000 }), row('fast')], 10), ['fast'])
  assert.deepEqual(over([row('small', { size: 5 }), row('large', { size: 50 })], 10), ['large'])
})

test('what is used often is worth more; unused, half of it each week', () => {
  assert.deepEqual(over([row('often', { usageCount: 3 }), row('once')], 10), ['once'])
  const worth = worthOf(row('a'), now)
  assert.equal(worthOf(row('a', { lastUsedAt: now - week }), now), worth / 2)
})

test('a minute that was long ago is worth less than a second of today', () => {
  const rows = [row('old', { duration: 60_000, lastUsedAt: 0 }), row('new', { duration: 1000 })]
  assert.deepEqual(over(rows, 10), ['old'])
})

test('what no key finds goes first, whatever it took', () => {
  assert.deepEqual(over([row('cheap'), row('unfound', { duration: 1e9, found: false })], 10), ['unfound'])
})

test('what others stand on goes after them, what a build has never', () => {
  const rows = [row('base', { size: 100 }), row('step', { parents: ['base'] }), row('held', { held: true })]
  assert.deepEqual(over(rows, 115), ['step'])
  assert.deepEqual(over(rows, 15), ['step', 'base'])
  assert.deepEqual(over(rows, 0), ['step', 'base'])
})

test('what images have is not counted, and not taken', () => {
  assert.deepEqual(over([row('shared', { shared: true }), row('own')], 10), [])
  assert.deepEqual(over([row('shared', { shared: true }), row('own')], 0), ['own'])
})

test('no more goes than has to, in the order of worth among what can go', () => {
  const sizes = fc.array(fc.record({ size: fc.integer({ min: 1, max: 9 }), duration: fc.nat(100_000) }), {
    maxLength: 12,
  })
  fc.assert(
    fc.property(sizes, fc.nat(60), (list, cap) => {
      const rows = list.map((own, index) => row(`${index}`, own))
      const going = chooseOverCap(rows, { cap, now })
      const sum = (some: UsageRow[]) => some.reduce((total, { size }) => total + size, 0)
      const total = sum(rows)
      assert.ok(total - sum(going) <= cap)
      assert.ok(going.length === 0 || total - sum(going.slice(0, -1)) > cap)
      const worths = going.map(one => worthOf(one, now))
      assert.deepEqual(
        worths,
        worths.toSorted((a, b) => a - b),
      )
    }),
  )
})
