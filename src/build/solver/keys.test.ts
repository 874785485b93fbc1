import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../oci/digest.ts'
import type { ExecMount, ExecOperation, Operation } from '../graph/types.ts'
import { amd64, arm64 } from '../plan/testing/fixture.ts'
import { contentKey, fastKey, joinedDigest, resultKey } from './keys.ts'
import { seenBy } from './seenBy.ts'
import { copyOf, execOf } from './testing/graphs.ts'

const edge = { vertex: 'sha256:', index: 0 } as const
const [one, two] = [digestOf('1'), digestOf('2')]

const fast = (operation: Operation, platform = amd64) => fastKey({ operation, platform }, [one])

const byContent = (operation: Operation) => {
  const seen = seenBy({ operation, inputs: [edge, edge] })
  return contentKey({ operation, platform: amd64 }, seen, [{ chain: one }, { content: two }])
}

const root: ExecMount = { kind: 'bind', target: '/', readOnly: false, input: 0, source: '/', output: 0 }
const owner = { required: false, uid: 0, gid: 0, mode: 0o400 }
const withMount = (mount: ExecMount): Operation => execOf({ mounts: [root, mount] })

test('what makes no other result is in no key', () => {
  const hosts = (address: string): ExecOperation['extraHosts'] => [{ host: 'a', address }]
  const cache = { kind: 'cache', target: '/c', readOnly: false, input: undefined, source: '/' } as const
  const pairs: [string, Operation, Operation][] = [
    ['proxies', execOf({ proxy: { http_proxy: 'a' } }), execOf({ proxy: {} })],
    [
      'addresses of hosts',
      execOf({ extraHosts: hosts('1.1.1.1') }),
      execOf({ extraHosts: hosts('2.2.2.2') }),
    ],
    [
      'id and sharing of caches',
      withMount({ ...cache, id: 'a', sharing: 'shared' }),
      withMount({ ...cache, id: 'b', sharing: 'locked' }),
    ],
  ]
  for (const [what, a, b] of pairs) assert.equal(fast(a), fast(b), what)
})

test('all else of an exec is in its key', () => {
  const secret = { kind: 'secret', target: '/s', readOnly: true, ...owner } as const
  const ssh = { kind: 'ssh', target: '/a', readOnly: true, ...owner } as const
  const operations: Operation[] = [
    execOf(),
    execOf({ args: ['a'] }),
    execOf({ env: ['A=1'] }),
    execOf({ env: ['A=2'] }),
    execOf({ directory: '/x' }),
    execOf({ user: 'x' }),
    execOf({ hostname: 'x' }),
    execOf({ network: 'none' }),
    execOf({ security: 'insecure' }),
    execOf({ shmSize: 1 }),
    execOf({ cgroupParent: 'x' }),
    execOf({ extraHosts: [{ host: 'a', address: '' }] }),
    execOf({ ulimits: [{ name: 'nofile', soft: 1, hard: 1 }] }),
    execOf({ devices: [{ name: 'x', required: true }] }),
    execOf({ secretEnv: [{ id: 'a', name: 'A', required: false }] }),
    execOf({ files: [{ path: '/f', content: 'a', mode: 0o755 }] }),
    withMount({ ...secret, id: 'a' }),
    withMount({ ...secret, id: 'b' }),
    withMount({ ...secret, id: 'a', mode: 0o600 }),
    withMount({ ...ssh, id: 'a' }),
    withMount({ kind: 'tmpfs', target: '/t', readOnly: false }),
    withMount({ kind: 'tmpfs', target: '/t', readOnly: false, size: 1 }),
    withMount({
      kind: 'cache',
      target: '/c',
      readOnly: false,
      id: 'c',
      sharing: 'shared',
      input: undefined,
      source: '/',
    }),
    withMount({
      kind: 'cache',
      target: '/d',
      readOnly: false,
      id: 'c',
      sharing: 'shared',
      input: undefined,
      source: '/',
    }),
  ]
  const keys = [...operations.map(operation => fast(operation)), fast(execOf(), arm64)]
  assert.equal(new Set(keys).size, keys.length)
})

test('the order of extra hosts counts, as their file is written in it', () => {
  const hosts = [
    { host: 'a', address: '' },
    { host: 'b', address: '' },
  ]
  assert.notEqual(fast(execOf({ extraHosts: hosts })), fast(execOf({ extraHosts: hosts.toReversed() })))
})

test('files are the same for every platform', () => {
  const operation: Operation = { kind: 'file', base: 0, actions: [copyOf()] }
  assert.equal(fast(operation, amd64), fast(operation, arm64))
  assert.equal(fast({ kind: 'merge' }, amd64), fast({ kind: 'merge' }, arm64))
})

test('where equal bytes lay does not count by content, and does by key', () => {
  const bind = (source: string): Operation =>
    withMount({ kind: 'bind', target: '/s', readOnly: true, input: 1, source, output: undefined })
  assert.equal(byContent(bind('/a')), byContent(bind('/b')))
  assert.notEqual(fast(bind('/a')), fast(bind('/b')))
  const copy = (source: string): Operation => ({ kind: 'file', base: 0, actions: [copyOf({ source })] })
  assert.equal(byContent(copy('/a/x')), byContent(copy('/b/x')))
  assert.notEqual(fast(copy('/a/x')), fast(copy('/b/x')))
  // What it is called is what it is called where it comes.
  assert.notEqual(byContent(copy('/a/x')), byContent(copy('/a/y')))
})

test('the part of a bind that is kept counts, since the rest of it is in the result', () => {
  const bind = (source: string): Operation =>
    withMount({ kind: 'bind', target: '/s', readOnly: false, input: 1, source, output: 1 })
  assert.notEqual(byContent(bind('/a')), byContent(bind('/b')))
})

test('keys tell results, ways to them and orders apart', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 4 }), fc.nat(3), (texts, index) => {
      const inputs = texts.map(text => digestOf(text))
      const doing = { operation: execOf(), platform: amd64 }
      const key = fastKey(doing, inputs)
      assert.notEqual(key, fastKey(doing, inputs.toReversed()))
      assert.notEqual(key, fastKey(doing, inputs.slice(1)))
      assert.notEqual(
        key,
        contentKey(
          doing,
          [],
          inputs.map(content => ({ content })),
        ),
      )
      assert.notEqual(
        contentKey(
          doing,
          [],
          inputs.map(content => ({ content })),
        ),
        contentKey(
          doing,
          [],
          inputs.map(chain => ({ chain })),
        ),
      )
      assert.notEqual(joinedDigest(inputs), joinedDigest(inputs.toReversed()))
      assert.equal(resultKey(key, index) === key, index === 0)
    }),
  )
})
