import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DockerfileError } from './errors.ts'
import { expandFrom, type StageBase } from './expandFrom.ts'
import { parseDockerfile } from './parse.ts'

const values: Record<string, string> = {
  BUILDPLATFORM: 'linux/amd64',
  tag: '1',
  EMPTY: '',
  MY_ARCH: 'arm64',
}

const from = (text: string): StageBase => {
  const [stage] = parseDockerfile(`FROM ${text}`).stages
  assert.ok(stage)
  return expandFrom(stage, {
    lookup: name => values[name],
    known: Object.keys(values),
    escape: '\\',
    architecture: 'amd64',
  })
}

test('a base and a platform', () => {
  assert.deepEqual(from('a:$tag'), { base: 'a:1', used: ['tag'] })
  assert.deepEqual(from('--platform=$BUILDPLATFORM a:${tag}'), {
    base: 'a:1',
    platform: { os: 'linux', architecture: 'amd64' },
    used: ['tag', 'BUILDPLATFORM'],
  })
  assert.deepEqual(from('--platform=linux/arm/v7 a').platform, {
    os: 'linux',
    architecture: 'arm',
    variant: 'v7',
  })
  assert.deepEqual(from('--platform=Linux a').platform, { os: 'linux', architecture: 'amd64' })
  assert.deepEqual(from('--platform=aarch64 a').platform, { os: 'linux', architecture: 'arm64' })
})

const wrong: [text: string, message: string][] = [
  ['$EMPTY', 'base name ($EMPTY) should not be blank'],
  ['--platform=$EMPTY a', 'empty platform value from expression $EMPTY'],
  [
    '--platform=$BULIDPLATFORM a',
    'empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)',
  ],
  [
    '--platform=linux/${MYARCH} a',
    'failed to parse platform linux/${MYARCH}: "" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument (did you mean MY_ARCH?)',
  ],
  [
    '--platform=plan9000 a',
    'failed to parse platform plan9000: "plan9000": unknown operating system or architecture: invalid argument',
  ],
  [
    '--platform=a/b/c/d a',
    'failed to parse platform a/b/c/d: "a/b/c/d": cannot parse platform specifier: invalid argument',
  ],
  ['a:${tag:?}${x:?give x}', 'FROM requires either one or three arguments'],
  ['${x:?none}', 'failed to process "${x:?none}": x: none'],
]
for (const [text, message] of wrong)
  test(`FROM ${text}: ${message}`, () =>
    assert.throws(
      () => from(text),
      (error: unknown) => {
        assert.ok(error instanceof DockerfileError)
        assert.equal(error.message.replace(/^dockerfile parse error on line 1: /, ''), message)
        assert.equal(error.ranges[0]?.start.line, 1)
        return true
      },
    ))
