import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gitOperation, parseGitUrl, withoutPassword } from './gitUrl.ts'

const cases: [text: string, read: Partial<ReturnType<typeof gitOperation>>][] = [
  ['https://github.com/a/b.git', { remote: 'https://github.com/a/b.git', ref: '', subdirectory: '' }],
  ['https://github.com/a/b.git#main', { remote: 'https://github.com/a/b.git', ref: 'main' }],
  ['https://h/b.git#:/x/../y/', { ref: '', subdirectory: 'y' }],
  ['http://h/b.git#v1:x/y', { remote: 'http://h/b.git', ref: 'v1', subdirectory: 'x/y' }],
  ['HTTPS://h/b.git', { remote: 'https://h/b.git' }],
  ['git://h/b', { remote: 'git://h/b' }],
  ['ssh://git@h:22/b', { remote: 'ssh://git@h:22/b', ssh: 'default' }],
  ['git@h:a/b.git#x', { remote: 'git@h:a/b.git', ref: 'x', ssh: 'default' }],
  ['github.com/a/b#x:y', { remote: 'https://github.com/a/b', ref: 'x', subdirectory: 'y' }],
  ['https://h/b.git?ref=x&subdir=y', { ref: 'x', subdirectory: 'y' }],
  ['https://h/b.git?tag=v1', { ref: 'refs/tags/v1' }],
  ['https://h/b.git?branch=refs/heads/a', { ref: 'refs/heads/a' }],
  ['https://h/b.git?ref=x#x', { ref: 'x' }],
  [
    'https://h/b.git?commit=abc&keep-git-dir&submodules=false',
    { checksum: 'abc', keepGitDirectory: true, submodules: false },
  ],
  ['https://h/b.git?mtime=checkout&fetch-by-commit=0', { keepGitDirectory: false, submodules: true }],
]
for (const [text, read] of cases)
  test(`${text} is a repository`, () => {
    const url = parseGitUrl(text)
    assert.ok(url)
    const operation = gitOperation(url)
    assert.deepEqual({ ...operation, ...read }, operation)
  })

for (const text of [
  'https://h/b',
  'https://h/b.git/x',
  './github.com/a',
  '../b.git',
  'a/b',
  'b.git',
  '/x',
  'ftp://h/b.git',
  '',
])
  test(`${JSON.stringify(text)} is none`, () => assert.equal(parseGitUrl(text), undefined))

const wrong: [query: string, message: string][] = [
  ['?what=1', 'unexpected query "what"'],
  ['?ref', 'query "ref" has no value'],
  ['?ref=a&ref=b', 'query "ref" has multiple values'],
  ['?ref=a#b', 'ref conflicts: "b" vs "a"'],
  ['?ref=a&tag=b', 'ref conflicts: "a" vs "refs/tags/b"'],
  ['?subdir=a#:b', 'subdir conflicts: "b" vs "a"'],
  ['?submodules=x', 'invalid submodules value: "x"'],
  ['?tag=a&branch=b', 'branch conflicts with tag'],
  ['?mtime=x', 'invalid mtime value: "x" (must be "checkout" or "commit")'],
  ['?mtime=commit', 'mtime=commit of git contexts is not implemented by this version of Berth'],
  ['?fetch-by-commit', 'fetch-by-commit of git contexts is not implemented by this version of Berth'],
]
for (const [query, message] of wrong)
  test(`${query}: ${message}`, () => assert.throws(() => parseGitUrl(`https://h/b.git${query}`), { message }))

test('no part of a password is shown', () => {
  for (const password of ['simple', 'with@sign', 'a:b', ':@:'])
    assert.equal(
      withoutPassword(`https://user:${password}@host/a@b:c.git`),
      'https://user:xxxxx@host/a@b:c.git',
    )
  assert.equal(withoutPassword('https://user@host/a.git'), 'https://user@host/a.git')
  assert.equal(withoutPassword('https://host:80/a@b.git'), 'https://host:80/a@b.git')
})
