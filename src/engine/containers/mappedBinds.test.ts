import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownerRanges } from './mappedBinds.ts'

const lines = (onDisk: number, seen: number) =>
  ownerRanges(onDisk, seen).map(({ inside, outside, count }) => `${inside} ${outside} ${count}`)

test('one id is seen as another, all but those two as they are, and none twice', () => {
  assert.deepEqual(lines(1234, 1000), [
    ...['1234 1000 1', '0 0 1000', '1001 1001 233', '1235 1235 4294966060'],
  ])
  assert.deepEqual(lines(1000, 0), ['1000 0 1', '1 1 999', '1001 1001 4294966294'])
  assert.deepEqual(lines(0, 1), ['0 1 1', '1 0 1', '2 2 4294967293'], 'root and another one are exchanged')
  assert.deepEqual(lines(0, 0), ['0 0 1', '1 1 4294967294'])
  assert.deepEqual(lines(7, 7), ['7 7 1', '0 0 7', '8 8 4294967287'])
})
