import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonical, familiar, parseReference, withDefaultTag } from './reference.ts'

const shown = (text: string): [string, string] => {
  const reference = withDefaultTag(parseReference(text))
  return [canonical(reference), familiar(reference)]
}

test('short names get the default domain, library and tag', () => {
  assert.deepEqual(shown('busybox'), ['docker.io/library/busybox:latest', 'busybox:latest'])
  assert.deepEqual(shown('team/app:1.2'), ['docker.io/team/app:1.2', 'team/app:1.2'])
  assert.deepEqual(shown('index.docker.io/library/debian'), [
    'docker.io/library/debian:latest',
    'debian:latest',
  ])
})

test('a first part with a dot, a port or localhost is a registry', () => {
  assert.deepEqual(shown('localhost/app'), ['localhost/app:latest', 'localhost/app:latest'])
  assert.deepEqual(shown('127.0.0.1:5000/app:v1'), ['127.0.0.1:5000/app:v1', '127.0.0.1:5000/app:v1'])
  assert.deepEqual(shown('example.org/a/b/c'), ['example.org/a/b/c:latest', 'example.org/a/b/c:latest'])
})

test('a digest needs no tag, and both may stand together', () => {
  const digest = `sha256:${'a'.repeat(64)}`
  assert.deepEqual(shown(`busybox@${digest}`), [`docker.io/library/busybox@${digest}`, `busybox@${digest}`])
  assert.equal(parseReference(`busybox:1@${digest}`).tag, '1')
})

test('what is not a name is refused in Docker’s words', () => {
  for (const bad of [
    '',
    ':',
    'a:',
    'a::b',
    '-a',
    'a/-b',
    'a b',
    'a@sha256:12',
    `a:${'x'.repeat(129)}`,
    'a//b',
  ])
    assert.throws(() => parseReference(bad), /invalid reference format/, bad)
  assert.throws(() => parseReference('Team/App'), /must be lowercase|invalid reference format/)
  assert.throws(() => parseReference('a'.repeat(64)), /cannot specify 64-byte hexadecimal strings/)
})
