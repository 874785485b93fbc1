import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { recordOf } from './testing/rows.ts'
import type { CacheRecord } from './types.ts'
import { sumsOf, type Usage, usageOf } from './usage.ts'

const records = [
  recordOf({ id: 'base', keys: [digestOf('1')], lastUsedAt: 1 }),
  recordOf({ id: 'step', keys: [digestOf('2')], parents: ['base'], lastUsedAt: 3 }),
  recordOf({ id: 'other', parents: ['base'], lastUsedAt: 2 }),
  recordOf({ id: 'mount', kind: 'exec.cachemount', mutable: true }),
]

const rows = (own: Partial<Usage> = {}) =>
  usageOf({ records, isHeld: () => false, isShared: () => false, sizeOf: () => 10, ...own })

const where = (own: Partial<Usage>, field: 'inUse' | 'held' | 'shared'): string[] =>
  rows(own)
    .flatMap(row => (row[field] ? [row.id] : []))
    .sort()

test('the last used comes first', () => {
  assert.deepEqual(
    rows().map(({ id }) => id),
    ['step', 'other', 'base', 'mount'],
  )
})

test('what stands under something that a build has is in use, too', () => {
  const isHeld = (id: string) => id === 'step'
  assert.deepEqual(where({ isHeld }, 'inUse'), ['base', 'step'])
  assert.deepEqual(where({ isHeld }, 'held'), ['step'])
})

test('what stands under something that an image has is shared, too', () => {
  const isShared = ({ id }: CacheRecord) => id === 'other'
  assert.deepEqual(where({ isShared }, 'shared'), ['base', 'other'])
})

test('a result without keys is found by nobody; a cache mount needs none', () => {
  const found = Object.fromEntries(rows().map(row => [row.id, row.found]))
  assert.deepEqual(found, { base: true, step: true, other: false, mount: true })
})

test('what is in use or shared cannot be had back', () => {
  const some = rows({ isHeld: id => id === 'mount', isShared: ({ id }) => id === 'base' })
  assert.deepEqual(sumsOf(some), { totalSize: 40, totalCount: 4, activeCount: 1, reclaimable: 20 })
})
