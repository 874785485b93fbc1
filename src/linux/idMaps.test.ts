import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  endOf,
  type IdMaps,
  insideOf,
  mapText,
  nobody,
  outsideOf,
  rootOf,
  sameMaps,
  withHostRoot,
} from './idMaps.ts'

const ranges = [
  { inside: 0, outside: 100_000, count: 10 },
  { inside: 10, outside: 500, count: 5 },
]
const maps: IdMaps = { uids: ranges, gids: [{ inside: 0, outside: 7, count: 1 }] }

test('ids are found in every range, both ways', () => {
  for (const [inside, outside] of [
    [0, 100_000],
    [9, 100_009],
    [10, 500],
    [14, 504],
  ] as const) {
    assert.equal(outsideOf(ranges, inside), outside)
    assert.equal(insideOf(ranges, outside), inside)
  }
  assert.equal(outsideOf(ranges, 15), undefined)
  for (const id of [0, 499, 505, 99_999, 100_010]) assert.equal(insideOf(ranges, id), nobody, `${id}`)
  assert.deepEqual(rootOf(maps), { uid: 100_000, gid: 7 })
  assert.deepEqual([endOf(ranges), endOf([])], [15, 0])
})

test('root outside gets the last number, unless it has one', () => {
  const { uids, gids } = withHostRoot({ uids: ranges, gids: [{ inside: 0, outside: 0, count: 9 }] })
  assert.deepEqual(uids, [...ranges, { inside: 4294967294, outside: 0, count: 1 }])
  assert.deepEqual(gids, [{ inside: 0, outside: 0, count: 9 }])
  assert.equal(mapText(uids), '0 100000 10\n10 500 5\n4294967294 0 1\n')
})

test('maps are the same where each range is', () => {
  assert.ok(sameMaps(undefined, undefined))
  assert.ok(sameMaps(maps, structuredClone(maps)))
  assert.ok(!sameMaps(maps, undefined))
  assert.ok(!sameMaps(maps, { ...maps, gids: [] }))
  assert.ok(!sameMaps(maps, { ...maps, gids: [{ inside: 0, outside: 8, count: 1 }] }))
})
