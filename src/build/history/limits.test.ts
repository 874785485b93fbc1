import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultLimits, type Kept, readHistoryLimits, surplus } from './limits.ts'

test('builder.history is read as dockerd reads it', () => {
  assert.deepEqual(readHistoryLimits(undefined), defaultLimits)
  assert.deepEqual(readHistoryLimits({}), defaultLimits)
  assert.deepEqual(readHistoryLimits({ maxEntries: 7 }), { ...defaultLimits, maxEntries: 7, maxAge: 0 })
  assert.deepEqual(readHistoryLimits({ MaxAge: '1h30m' }), {
    ...defaultLimits,
    ...{ maxEntries: 0, maxAge: 5_400_000 },
  })
  assert.deepEqual(readHistoryLimits({ maxage: 60, maxBytes: '10MB' }), {
    ...{ maxEntries: 0, maxAge: 60_000, maxBytes: 10 << 20 },
  })
  assert.throws(() => readHistoryLimits([]), /builder\.history is not an object/)
  assert.throws(() => readHistoryLimits({ maxAge: 'long' }), /builder\.history\.maxAge/)
  assert.throws(() => readHistoryLimits({ maxEntries: -1 }), /builder\.history\.maxEntries/)
  assert.throws(() => readHistoryLimits({ maxBytes: 'much' }), /builder\.history\.maxBytes/)
})

const kept = (completedAt: number, more: Partial<Kept> = {}): Kept => ({
  ...{ completedAt, pinned: false, bytes: 1 },
  ...more,
})

const times = (records: Kept[], limits: Partial<typeof defaultLimits>): number[] =>
  surplus(records, { maxEntries: 2, maxAge: 5, maxBytes: 100, ...limits }, 10).map(
    ({ completedAt }) => completedAt,
  )

test('what goes is beyond the count and the age', () => {
  const records = [1, 2, 3, 4, 9].map(time => kept(time))
  assert.deepEqual(times(records, {}), [3, 2, 1])
  assert.deepEqual(times(records, { maxAge: 8 }), [1])
  assert.deepEqual(times(records, { maxEntries: 5 }), [])
  assert.deepEqual(times([kept(1, { pinned: true }), kept(2), kept(3)], {}), [])
})

test('what goes is beyond the bytes, but the newest', () => {
  const records = [1, 2, 9].map(time => kept(time, { bytes: 60 }))
  assert.deepEqual(times(records, { maxEntries: 9 }), [2, 1])
  assert.deepEqual(times(records, { maxEntries: 9, maxBytes: 1 }), [2, 1])
  assert.deepEqual(times([kept(1, { bytes: 90, pinned: true }), ...records], { maxEntries: 9 }), [2, 1])
})
