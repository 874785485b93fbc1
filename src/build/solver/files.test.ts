import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../oci/digest.ts'
import { changesOf, keptFiles } from './files.ts'
import type { FileDigest } from './types.ts'

const filesOf = (texts: Record<string, string>): FileDigest[] =>
  Object.entries(texts).map(([path, text]) => [path, digestOf(text)])

test('digests are shortened, paths are without slashes around them', () => {
  const [file] = keptFiles(filesOf({ '/a/b/': 'x' }))
  assert.deepEqual(file, ['a/b', digestOf('x').slice(7, 23)])
})

test('what was added, removed and changed is told by path', () => {
  const before = keptFiles(filesOf({ same: '1', changed: '1', gone: '1' }))
  const after = keptFiles(filesOf({ same: '1', changed: '2', more: '1' }))
  assert.deepEqual(
    changesOf(before, after).map(({ path, change }) => `${change} ${path}`),
    ['changed changed', 'removed gone', 'added more'],
  )
  const [change] = changesOf(before, after)
  assert.deepEqual([change?.before, change?.after], [before[0]?.[1], after[0]?.[1]])
})

const many = (count: number, change?: string): FileDigest[] =>
  filesOf(
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => {
        const path = `src/${index % 5}/${index}`
        return [path, path === change ? 'changed' : 'text'] as const
      }),
    ),
  )

test('where there are too many, folders are told of', () => {
  const before = keptFiles(many(100), 20)
  assert.deepEqual(
    before.map(([path]) => path),
    ['src/0/', 'src/1/', 'src/2/', 'src/3/', 'src/4/'],
  )
  const after = keptFiles(many(100, 'src/3/13'), 20)
  assert.deepEqual(
    changesOf(before, after).map(({ path, change }) => `${change} ${path}`),
    ['changed src/3/'],
  )
})

test('a list that was folded is compared with one that was not', () => {
  const folded = keptFiles(many(100), 20)
  assert.deepEqual(changesOf(folded, keptFiles(many(100))), [])
  assert.deepEqual(
    changesOf(folded, keptFiles(many(100, 'src/2/7'))).map(({ path }) => path),
    ['src/2/'],
  )
})

const tree = fc.dictionary(
  fc
    .array(fc.constantFrom('a', 'b', 'c', 'dd'), { minLength: 1, maxLength: 5 })
    .map(parts => parts.join('/')),
  fc.constantFrom('1', '2', '3'),
  { maxKeys: 30 },
)

test('equal lists never differ and unequal ones always do, however far each was folded', () => {
  fc.assert(
    fc.property(tree, tree, fc.nat(30), fc.nat(30), (one, two, limit, other) => {
      assert.deepEqual(changesOf(keptFiles(filesOf(one), limit), keptFiles(filesOf(one), other)), [])
      const isSame = JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(two).sort())
      const changes = changesOf(keptFiles(filesOf(one), limit), keptFiles(filesOf(two), other))
      assert.equal(changes.length === 0, isSame)
    }),
  )
})

test('what is kept is within its limit, but for one line', () => {
  fc.assert(
    fc.property(tree, fc.nat(10), (texts, limit) => {
      assert.ok(keptFiles(filesOf(texts), limit).length <= Math.max(1, limit))
    }),
  )
})

test('more files than a call takes arguments', () => {
  const many = Array.from({ length: 200_000 }, (_, index) => [`/a/${index}`, 'sha256:00'] as const)
  assert.deepEqual(keptFiles(many).length, 1)
})
