import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasWildcards, parseGlob, splitWildcards } from './glob.ts'

/** Those of Go's own tests of `path.Match`. */
const cases: [string, string, boolean][] = [
  ['abc', 'abc', true],
  ['*', 'abc', true],
  ['*c', 'abc', true],
  ['a*', 'a', true],
  ['a*', 'abc', true],
  ['a*', 'ab/c', false],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
  ['a*b?c*x', 'abxbbxdbxebxczzx', true],
  ['a*b?c*x', 'abxbbxdbxebxczzy', false],
  ['ab[c]', 'abc', true],
  ['ab[b-d]', 'abc', true],
  ['ab[e-g]', 'abc', false],
  ['ab[^c]', 'abc', false],
  ['ab[^b-d]', 'abc', false],
  ['ab[^e-g]', 'abc', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'ab', false],
  ['a?b', 'a☺b', true],
  ['a[^a]b', 'a☺b', true],
  ['a???b', 'a☺b', false],
  ['[a-ζ]*', 'α', true],
  ['*[a-ζ]', 'A', false],
  ['a?b', 'a/b', false],
  ['a*b', 'a/b', false],
  ['[\\]a]', ']', true],
  ['[\\-]', '-', true],
  ['[x\\-]', 'z', false],
  ['[\\-x]', 'a', false],
  ['[]a]', ']', false],
  ['[-]', '-', false],
  ['[x-]', 'x', false],
  ['[a-b-c]', 'a', false],
  ['[', 'a', false],
  ['[^bc', 'a', false],
  ['a[', 'ab', false],
  ['*x', 'xxx', true],
]

for (const [pattern, text, expected] of cases)
  test(`${pattern} ${expected ? 'matches' : 'does not match'} ${text}`, () =>
    assert.equal(parseGlob(pattern).matches(text), expected))

test('what is below a folder is looked for only where it may match', () => {
  const glob = parseGlob('a*/b?/c')
  assert.deepEqual(
    ['ax', 'ax/bx', 'x', 'ax/b', 'ax/bx/c'].map(folder => glob.mayMatchBelow(folder)),
    [true, true, false, false, false],
  )
})

test('a folder is never passed over that something matches in', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '/', '[', ']', '\\'), maxLength: 8 })
  const path = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 3 }), {
    minLength: 2,
    maxLength: 4,
  })
  fc.assert(
    fc.property(name, path, (pattern, names) => {
      const glob = parseGlob(pattern)
      if (!glob.matches(names.join('/'))) return
      for (let count = 1; count < names.length; count++)
        assert.ok(glob.mayMatchBelow(names.slice(0, count).join('/')))
    }),
  )
})

test('a long pattern takes no longer than its length times the text’s', () => {
  assert.equal(parseGlob(`${'a*'.repeat(200)}b`).matches('a'.repeat(5000)), false)
})

test('wildcards are told, and cut off', () => {
  assert.deepEqual(['a', 'a\\*', 'a*', '[', '?'].map(hasWildcards), [false, false, true, true, true])
  assert.deepEqual(splitWildcards('/a/b*/c'), { fixed: 'a', pattern: 'b*/c' })
  assert.deepEqual(splitWildcards('/a/b/'), { fixed: 'a/b', pattern: '' })
  assert.deepEqual(splitWildcards('/*'), { fixed: '', pattern: '*' })
})
