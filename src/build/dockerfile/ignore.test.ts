import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DockerfileError } from './errors.ts'
import { IgnoreMatcher, readIgnoreFile } from './ignore.ts'

test('a file of patterns', () =>
  assert.deepEqual(readIgnoreFile('\ufeff# no\n\n  a/ \r\n/b\n./c/../d//e\n!f/\n! /g\n #h\n!\n/\n.\n**/'), [
    'a',
    'b',
    'd/e',
    '!f',
    '!g',
    '#h',
    '!',
    '/',
    '.',
    '**',
  ]))

const cases: [patterns: string, path: string, ignored: boolean][] = [
  ['a', 'a', true],
  ['a', 'a/b', true],
  ['a', 'b/a', false],
  ['a/b', 'a', false],
  ['a.c', 'abc', false],
  ['*', 'a', true],
  ['*', 'a/b', true],
  ['*.go', 'a.go', true],
  ['*.go', 'x/a.go', false],
  ['a*', 'ab/c', true],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['a*b?c*x', 'abxbbxdbxebxczzx', true],
  ['a*b?c*x', 'abxbbxdbxebxczzy', false],
  ['a?b', 'a☺b', true],
  ['a?b', 'a/b', false],
  ['a???b', 'a☺b', false],
  ['**', 'a', true],
  ['**/a', 'a', true],
  ['**/a', 'x/y/a', true],
  ['**/a', 'x/ba', false],
  ['**/a', 'x/a/b', true],
  ['**a', 'x/ba', true],
  ['**a*', 'ba', false],
  ['**/a*', 'x/ab', true],
  ['**/*.txt', 'a.txt', true],
  ['**/**/*.txt', 'x/y/a.txt', true],
  ['**/**/*.txt2', 'x/y/a.txt', false],
  ['**/a/b', 'x/a/b', true],
  ['**/a/*', 'x/a/b', true],
  ['**/a/*', 'x/ab', false],
  ['**/a/**', 'x/a/b/c', true],
  ['a/**', 'a', false],
  ['a/**', 'a/b/c', true],
  ['a**', 'ab/c', true],
  ['a**/*.txt', 'ab/c.txt', true],
  ['a**/*.txt', 'a/c.txt', true],
  ['a**/*.txt', 'a/b/c.txt', true],
  ['a/**/b', 'a/b', true],
  ['a/**/b', 'a/x/y/b', true],
  ['a/**/b', 'a/x/yb', false],
  ['a[b-d]e', 'ace', true],
  ['a[b-d]e', 'aae', false],
  ['a[^b-d]e', 'aze', true],
  ['[a-ζ]*', 'α', true],
  ['[\\]a]', ']', true],
  ['[x\\-]', '-', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'axb', false],
  ['a\\\\', 'a\\', true],
  ['a(b).|$+{c', 'a(b).|$+{c', true],
  ['a !a/b', 'a/b', false],
  ['a !a/b', 'a/c', true],
  ['a !a/b', 'a/b/c', false],
  ['a !a/b a/b/c', 'a/b/c', true],
  ['* !*.md', 'x.md', false],
  ['!a *', 'a', true],
  ['** !**/*.ts', 'a/b.ts', false],
]

for (const [patterns, path, ignored] of cases)
  test(`${patterns} ${ignored ? 'ignores' : 'leaves'} ${path}`, () => {
    const matcher = new IgnoreMatcher(patterns.split(' '))
    assert.equal(matcher.ignores(path), ignored)
  })

for (const pattern of ['[', '[^', '[^bc', 'a[', '[]a]', '[-]', '[x-]', '[-x]', '[a-b-c]', 'a\\', '!['])
  test(`${pattern} is no pattern`, () =>
    assert.throws(
      () => new IgnoreMatcher([pattern]),
      (error: unknown) => error instanceof DockerfileError && error.message === 'syntax error in pattern',
    ))

test('an exception of nothing is refused', () =>
  assert.throws(() => new IgnoreMatcher([' ! ', '!']), { message: 'illegal exclusion pattern: "!"' }))

test('empty patterns are passed over, spaces around patterns too', () => {
  const matcher = new IgnoreMatcher(['', ' a ', ' !a/b '])
  assert.equal(matcher.patterns.length, 2)
  assert.equal(matcher.hasExceptions, true)
  assert.equal(matcher.ignores('a/b'), false)
})

test('a folder is skipped unless an exception may be below it', () => {
  const skips = (patterns: string, folder: string): boolean =>
    new IgnoreMatcher(patterns.split(' ')).visit(folder).canSkip
  assert.equal(skips('a', 'a'), true)
  assert.equal(skips('b', 'a'), false)
  assert.equal(skips('a !b/c', 'a'), true)
  assert.equal(skips('a !a/b/c', 'a'), false)
  assert.equal(skips('* !*/x', 'a'), false)
  assert.equal(skips('* !b*/x', 'a'), true)
  assert.equal(skips('* !**/x', 'a'), false)
  assert.equal(skips('* !**x', 'a'), false)
})

const segment = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '**', '?', '[ab]')
const pattern = fc
  .tuple(fc.constantFrom('', '!'), fc.array(segment, { minLength: 1, maxLength: 3 }))
  .map(([mark, parts]) => mark + parts.join('/'))
const names = ['a', 'b', 'ab']

interface Folder {
  path: string
  matched: readonly boolean[]
}

/** All paths of up to three segments that a walk leaves, which skips what it may or nothing. */
const walk = (matcher: IgnoreMatcher, maySkip: boolean, folder?: Folder): string[] =>
  names.flatMap(name => {
    const path = folder ? `${folder.path}/${name}` : name
    const { ignored, matched, canSkip } = matcher.visit(path, folder?.matched)
    const isLast = path.split('/').length === 3 || (canSkip && maySkip)
    const below = isLast ? [] : walk(matcher, maySkip, { path, matched })
    return ignored ? below : [path, ...below]
  })

test('a walk that skips finds what one that looks at all finds', () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 4 }), patterns => {
      const matcher = new IgnoreMatcher(patterns)
      assert.deepEqual(walk(matcher, true), walk(matcher, false))
    }),
    { numRuns: 1000 },
  )
})

test('without exceptions a walk finds what asking for each path finds', () => {
  const all = names.flatMap(a => [
    a,
    ...names.flatMap(b => [`${a}/${b}`, ...names.map(c => `${a}/${b}/${c}`)]),
  ])
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 4 }), patterns => {
      const matcher = new IgnoreMatcher(patterns.map(text => text.replace('!', '')))
      const left = all.filter(path => !matcher.ignores(path))
      assert.deepEqual(walk(matcher, true).sort(), left.sort())
    }),
    { numRuns: 500 },
  )
})

test('an exception of a folder that is not ignored says nothing of what is in it, in a walk', () => {
  const matcher = new IgnoreMatcher(['a/a', '!a'])
  assert.equal(walk(matcher, true).includes('a/a'), false)
  assert.equal(matcher.ignores('a/a'), false)
})

test('any pattern is one or is refused, and takes no time', { timeout: 60_000 }, () => {
  const parts = fc.constantFrom('*', '**', '/', 'a', '[', ']', '^', '-', '\\', '?', '!', '.')
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 30 }), fc.string({ maxLength: 20 }), (all, path) => {
      try {
        new IgnoreMatcher([all.join('')]).ignores(path)
      } catch (error) {
        assert.ok(error instanceof DockerfileError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
  const hard = new IgnoreMatcher([`${'*a'.repeat(50)}b`, `${'**/a/'.repeat(50)}b`])
  assert.equal(hard.ignores('a'.repeat(5000)), false)
  assert.equal(hard.ignores('a/'.repeat(100)), false)
})
