import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { chooseByRules, choosePruned, type PruneRule } from './prune.ts'
import { ids, rowOf } from './testing/rows.ts'
import type { UsageRow } from './usage.ts'

const hour = 3_600_000
const state = { now: 100 * hour, free: 1000 }

const pruned = (rows: UsageRow[], rule: PruneRule = {}, free = state.free): string[] =>
  ids(choosePruned(rows, rule, { ...state, free }))

test('without limits all goes, what stands on others first', () => {
  const rows = [rowOf({ id: 'base' }), rowOf({ id: 'step', parents: ['base'] })]
  assert.deepEqual(pruned(rows), ['step', 'base'])
})

test('what a build has stays, with all that it stands on', () => {
  const rows = [
    rowOf({ id: 'base' }),
    rowOf({ id: 'step', parents: ['base'], held: true }),
    rowOf({ id: 'free' }),
  ]
  assert.deepEqual(pruned(rows), ['free'])
})

test('inner and shared records go only with all', () => {
  const rows = [
    rowOf({ id: 'inner', kind: 'internal' }),
    rowOf({ id: 'front', kind: 'frontend' }),
    rowOf({ id: 'shared', shared: true }),
    rowOf({ id: 'own' }),
  ]
  assert.deepEqual(pruned(rows), ['own'])
  assert.deepEqual(pruned(rows, { all: true }), ['inner', 'front', 'shared', 'own'])
})

test('what was used since then stays', () => {
  const rows = [rowOf({ id: 'old', lastUsedAt: 10 * hour }), rowOf({ id: 'new', lastUsedAt: 90 * hour })]
  assert.deepEqual(pruned(rows, { keepDuration: 20 * hour }), ['old'])
})

test('a filter chooses; what stands on others that stay keeps them', () => {
  const rows = [rowOf({ id: 'base' }), rowOf({ id: 'step', parents: ['base'] })]
  assert.deepEqual(pruned(rows, { filter: ({ id }) => id === 'base' }), [])
  assert.deepEqual(pruned(rows, { filter: ({ id }) => id === 'step' }), ['step'])
})

const used = [
  rowOf({ id: 'a', lastUsedAt: 1, usageCount: 3 }),
  rowOf({ id: 'b', lastUsedAt: 2, usageCount: 1 }),
  rowOf({ id: 'c', lastUsedAt: 3, usageCount: 2 }),
]

test('down to a limit, those least and longest ago used go first', () => {
  assert.deepEqual(pruned(used, { maxUsedSpace: 20 }), ['b'])
  assert.deepEqual(pruned(used, { maxUsedSpace: 19 }), ['b', 'a'])
})

test('a limit that is not reached takes nothing', () => {
  assert.deepEqual(pruned(used, { maxUsedSpace: 30 }), [])
  assert.deepEqual(pruned(used, { reservedSpace: 30 }), [])
})

test('space that is reserved stays, whatever else is asked for', () => {
  assert.deepEqual(pruned(used, { reservedSpace: 21, maxUsedSpace: 11 }), ['b'])
  assert.deepEqual(pruned(used, { reservedSpace: 11 }), ['b', 'a'])
})

test('so much goes as the disk is to have free', () => {
  assert.deepEqual(pruned(used, { minFreeSpace: 15 }, 10), ['b'])
  assert.deepEqual(pruned(used, { minFreeSpace: 15 }, 15), [])
  assert.deepEqual(pruned(used, { minFreeSpace: 15, maxUsedSpace: 100 }, 16), [])
})

test('rules come one after the other, each with what the ones before left', () => {
  const rules: PruneRule[] = [{ filter: ({ id }) => id === 'b' }, { maxUsedSpace: 15 }]
  assert.deepEqual(ids(chooseByRules(used, rules, state)), ['b', 'a'])
})

const rows = fc
  .array(
    fc.record({
      parent: fc.nat(9),
      held: fc.boolean(),
      shared: fc.boolean(),
      size: fc.nat(9),
      lastUsedAt: fc.nat(9),
    }),
    {
      maxLength: 10,
    },
  )
  .map(list =>
    list.map(({ parent, ...own }, index) =>
      rowOf({ id: `${index}`, parents: parent < index ? [`${parent}`] : [], ...own }),
    ),
  )

test('nothing goes before what stands on it, and nothing that is held', () => {
  fc.assert(
    fc.property(rows, fc.record({ all: fc.boolean(), maxUsedSpace: fc.nat(60) }), (rows, rule) => {
      const going = choosePruned(rows, rule, state)
      const gone = new Set<string>()
      for (const row of going) {
        assert.ok(!row.held)
        assert.ok(rows.every(({ id, parents }) => !parents.includes(row.id) || gone.has(id)))
        gone.add(row.id)
      }
      assert.equal(gone.size, going.length)
    }),
  )
})
