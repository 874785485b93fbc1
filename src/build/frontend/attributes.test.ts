import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BerthError } from '../../core/errors.ts'
import { readAttributes } from './attributes.ts'

test('nothing given is a build of the client’s folder', () => {
  assert.deepEqual(readAttributes({}), {
    fileName: 'Dockerfile',
    context: 'context',
    dockerfileFolder: 'dockerfile',
    isLocalDockerfile: false,
    platforms: [],
    multiPlatform: false,
    arguments: {},
    labels: {},
    namedContexts: {},
    resolve: 'default',
    network: 'default',
    extraHosts: [],
    ulimits: [],
    limits: {},
    cacheImports: [],
    attestations: {},
    inputMetadata: {},
    sessions: {},
  })
})

test('each attribute is read as its frontend reads it', () => {
  const read = readAttributes({
    filename: 'docker/Dockerfile',
    contextkey: 'where',
    where: 'https://example.com/a.tgz',
    contextsubdir: 'sub',
    dockerfilekey: 'other',
    platform: 'linux/amd64,linux/arm64',
    'build-arg:A': '1',
    'label:b': '2',
    target: 'last',
    'context:base': 'docker-image://alpine',
    'no-cache': '',
    'image-resolve-mode': 'pull',
    'force-network-mode': 'none',
    'add-hosts': 'Some=10.0.0.1,other=::1',
    ulimit: 'nofile=10:20,core=0',
    'shm-size': '1000',
    'cgroup-parent': '/p',
    hostname: 'h',
    'cache-imports': '[{"Type":"registry","Attrs":{"ref":"r"}}]',
    requestid: 'frontend.outline',
    'attest:sbom': 'generator=x',
    'input-metadata:one': '{}',
    'local-sessionid:context': 's',
  })
  assert.deepEqual(
    read.platforms.map(({ architecture }) => architecture),
    ['amd64', 'arm64'],
  )
  const { platforms: _, ...others } = read
  assert.deepEqual(others, {
    fileName: 'docker/Dockerfile',
    context: 'https://example.com/a.tgz',
    subdirectory: 'sub',
    dockerfileFolder: 'other',
    isLocalDockerfile: true,
    multiPlatform: true,
    arguments: { A: '1' },
    labels: { b: '2' },
    target: 'last',
    namedContexts: { base: 'docker-image://alpine' },
    noCache: 'all',
    resolve: 'pull',
    network: 'none',
    extraHosts: [
      { host: 'some', address: '10.0.0.1' },
      { host: 'other', address: '::1' },
    ],
    limits: {},
    ulimits: [
      { name: 'nofile', soft: 10, hard: 20 },
      { name: 'core', soft: 0, hard: 0 },
    ],
    shmSize: 1000,
    cgroupParent: '/p',
    hostname: 'h',
    cacheImports: [{ type: 'registry', attributes: { ref: 'r' } }],
    subrequest: 'frontend.outline',
    attestations: { sbom: 'generator=x' },
    inputMetadata: { one: '{}' },
    sessions: { context: 's' },
  })
  assert.deepEqual(readAttributes({ 'no-cache': 'a,b' }).noCache, ['a', 'b'])
})

const wrong: [string, string, RegExp][] = [
  ['platform', 'a/b/c/d/e', /failed to parse target platform a\/b\/c\/d\/e/],
  ['image-resolve-mode', 'x', /invalid image-resolve-mode: x/],
  ['force-network-mode', 'bridge', /invalid netmode bridge/],
  ['add-hosts', 'a', /invalid key-value pair a/],
  ['add-hosts', 'a=b', /failed to parse IP b/],
  ['ulimit', 'nofile', /invalid ulimit argument: nofile/],
  ['ulimit', 'nofile=3:2', /soft limit must be less than or equal to hard limit: 3 > 2/],
  ['shm-size', 'big', /failed to parse shm size/],
  ['multi-platform', 'maybe', /invalid boolean value for multi-platform: maybe/],
  ['cache-imports', '{', /failed to unmarshal cache-imports/],
  ['cache-imports', '[1]', /failed to unmarshal cache-imports/],
  ['memory', '1k', /invalid memory value: 1k/],
]
for (const [name, value, words] of wrong)
  test(`${name}=${value} is refused`, () => assert.throws(() => readAttributes({ [name]: value }), words))

test('whatever is given is read or refused', () => {
  const names = ['platform', 'add-hosts', 'ulimit', 'shm-size', 'cache-imports', 'no-cache', 'multi-platform']
  fc.assert(
    fc.property(fc.constantFrom(...names), fc.string(), (name, value) => {
      try {
        readAttributes({ [name]: value })
      } catch (error) {
        assert.ok(error instanceof BerthError, String(error))
      }
    }),
  )
})

test('labels come in the order of their names, however they were sent', () => {
  const { labels } = readAttributes({ 'label:b': '2', 'label:c': '3', 'label:a': '1' })
  assert.deepEqual(Object.keys(labels), ['a', 'b', 'c'])
})
