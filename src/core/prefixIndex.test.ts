import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PrefixIndex } from './prefixIndex.ts'

test('what begins with a prefix of any length is found, and no longer once it is deleted', () => {
  const ids = ['abcdef12', 'abcdef34', 'abcdee56', 'ffffff00']
  const index = new PrefixIndex<{ id: string }>()
  const things = ids.map(id => ({ id }))
  for (const thing of things) index.add(thing)
  const found = (prefix: string): string[] => index.find(prefix).map(({ id }) => id)
  for (const length of [0, 1, 5, 6, 7, 8, 9])
    for (const id of ids) {
      const prefix = `${id}0`.slice(0, length)
      assert.deepEqual(found(prefix).sort(), ids.filter(each => each.startsWith(prefix)).sort(), prefix)
    }
  index.delete({ id: 'abcdef12' })
  assert.equal(found('abcdef').length, 2, 'another one of the same id')
  index.delete(things[0] ?? { id: '' })
  assert.deepEqual(found('abcdef'), ['abcdef34'])
  assert.deepEqual(found('1'), [])
})
