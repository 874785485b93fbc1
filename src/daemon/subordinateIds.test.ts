import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeStart, mapOfUser, newRange, parseSubordinateIds } from './subordinateIds.ts'

const text = 'one:100000:65536\n\n# a comment\n 1000:5:10 \nbroken\none:900000:7\nempty:1:0\n:3:4\n'

test('lines of a user by name and by number are one range after the other', () => {
  const ranges = parseSubordinateIds(text)
  assert.deepEqual(
    ranges.map(({ user }) => user),
    ['one', '1000', 'one'],
  )
  assert.deepEqual(mapOfUser(ranges, { name: 'one', uid: 1000 }), [
    { inside: 0, outside: 100_000, count: 65536 },
    { inside: 65536, outside: 5, count: 10 },
    { inside: 65546, outside: 900_000, count: 7 },
  ])
  assert.throws(() => mapOfUser(ranges, { name: 'two', uid: 2 }), /no subuid ranges found for user "two"/)
  const many = Array.from({ length: 340 }, (_, at) => ({ user: 'many', first: at * 2, count: 1 }))
  assert.throws(() => mapOfUser(many, { name: 'many', uid: 3 }), /340 subordinate ranges, more than 339/)
})

test('a new range begins after all that are in its way', () => {
  assert.equal(freeStart([]), 100_000)
  const at = (...pairs: [number, number][]) =>
    freeStart(pairs.map(([first, count]) => ({ user: 'x', first, count })))
  assert.equal(at([100_000, 65536]), 165_536)
  assert.equal(at([165_536, 65536], [100_000, 65536]), 231_072)
  assert.equal(at([120_000, 10]), 120_010)
  assert.equal(at([1, 10]), 100_000)
  assert.equal(at([165_536, 65536]), 100_000, 'it fits before')
  assert.equal(newRange([]), '100000-165535')
})
