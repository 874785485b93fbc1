import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { BerthError, notFound } from '../../core/errors.ts'
import { digestOf } from '../../oci/digest.ts'
import { type Definition, DefinitionSchema, OpSchema } from '../../wire/buildkit/ops_pb.ts'
import type { Graph, Operation } from '../graph/types.ts'
import { type DefinitionHost, definitionOfResult, readDefinition } from './definition.ts'
import { readInputs } from './inputs.ts'

/** As clients write one: operations, and the result last. */
const definitionOf = (...ops: MessageInitShape<typeof OpSchema>[]): Definition => {
  const bytes = ops.map(op => toBinary(OpSchema, create(OpSchema, op)))
  const digest = digestOf(bytes.at(-1) ?? Buffer.alloc(0))
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest }] }))
  return create(DefinitionSchema, {
    def: [...bytes, last],
    metadata: { [digest]: { description: { 'llb.customname': 'a name' } } },
  })
}

const source = (identifier: string, attrs: Record<string, string> = {}): Definition =>
  definitionOf({
    op: { case: 'source', value: { identifier, attrs } },
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  })

const host: DefinitionHost = {
  session: 'mine',
  lent: id => {
    if (id !== 'lent') throw new Error(`${id} is gone`)
    return { isEmpty: false, name: '[1/2] RUN it' }
  },
}

const operations = ({ vertices }: Graph): Operation[] =>
  [...vertices.values()].map(({ operation }) => operation)
const read = (definition: Definition): Operation[] => operations(readDefinition(definition, host))

/** What becomes of it on its way through a client, which writes it anew. */
const sent = (definition: Definition): Definition =>
  fromBinary(DefinitionSchema, toBinary(DefinitionSchema, definition))

test('a result of ours comes back as what it is', () => {
  const graph = readDefinition(sent(definitionOfResult('lent')), host)
  const [vertex] = [...graph.vertices.values()]
  assert.deepEqual(vertex?.operation, { kind: 'result', id: 'lent' })
  assert.deepEqual(graph.result, { vertex: vertex?.digest, index: 0 })
  assert.equal(vertex?.step.name, '[1/2] RUN it')
  assert.throws(() => read(definitionOfResult('other')), /other is gone/)
  const empty = { ...host, lent: () => ({ isEmpty: true, name: '' }) }
  assert.equal(readDefinition(definitionOfResult('lent'), empty).result, undefined)
})

test('clients find what they look for in a definition of ours', () => {
  const { def, metadata } = definitionOfResult('lent')
  const [first, last] = def.map(bytes => fromBinary(OpSchema, bytes))
  assert.equal(first?.op.case, 'source')
  assert.equal(last?.inputs[0]?.digest, digestOf(def[0] ?? Buffer.alloc(0)))
  for (const bytes of def) assert.ok(metadata[digestOf(bytes)])
})

const sources: [identifier: string, attributes: Record<string, string>, operation: Operation][] = [
  [
    'docker-image://docker.io/library/alpine:latest',
    { 'image.resolvemode': 'pull', 'image.layerlimit': '2', 'image.recordtype': 'internal' },
    { kind: 'image', reference: 'docker.io/library/alpine:latest', resolve: 'pull', layerLimit: 2 },
  ],
  [
    'git://host/one.git#main:sub',
    { 'git.fullurl': 'git@host:one.git', 'git.keepgitdir': 'true', 'git.mountsshsock': 'default' },
    {
      ...{ kind: 'git', remote: 'git@host:one.git', ref: 'main', subdirectory: 'sub' },
      ...{ keepGitDirectory: true, submodules: true, ssh: 'default' },
    },
  ],
  [
    'git://host/one.git',
    { 'git.authtokensecret': 'TOKEN', 'git.skipsubmodules': 'true' },
    {
      ...{ kind: 'git', remote: 'https://host/one.git', ref: '', subdirectory: '' },
      ...{ keepGitDirectory: false, submodules: false, authToken: 'TOKEN' },
    },
  ],
  [
    'https://host/file',
    { 'http.filename': 'context', 'http.perm': '0644', 'http.uid': '7' },
    { kind: 'http', url: 'https://host/file', filename: 'context', mode: 0o644, uid: 7 },
  ],
  [
    'oci-layout://x@sha256:0',
    { 'oci.store': 'store', 'oci.session': 'theirs' },
    { kind: 'oci-layout', session: 'theirs', store: 'store', reference: 'x@sha256:0' },
  ],
]
for (const [identifier, attributes, operation] of sources)
  test(`a graph that is one source: ${identifier}`, () => {
    const graph = readDefinition(source(identifier, attributes), host)
    const [vertex] = [...graph.vertices.values()]
    assert.deepEqual(vertex?.operation, operation)
    assert.deepEqual(vertex?.platform, { os: 'linux', architecture: 'arm64' })
    assert.equal(vertex?.step.name, 'a name')
  })

test('a folder of the client is copied, as it goes with its build', () => {
  const [local, copy] = read(
    source('local://folder', {
      ...{ 'local.session': 'mine', 'local.unique': 'x', 'local.sharedkeyhint': 'key' },
      ...{ 'local.followpaths': '["a"]', 'local.excludepatterns': '["b"]' },
    }),
  )
  assert.deepEqual(local, {
    ...{ kind: 'local', name: 'folder', sharedKey: 'key', differ: 'metadata' },
    ...{ follow: ['a'], exclude: ['b'] },
  })
  assert.equal(copy?.kind, 'file')
})

const exec = definitionOf(
  { op: { case: 'source', value: { identifier: 'docker-image://alpine' } } },
  { inputs: [{ digest: 'sha256:0' }], op: { case: 'exec', value: {} } },
)
const broken = create(DefinitionSchema, { def: [new Uint8Array([255])] })
const wrong: [definition: Definition, message: RegExp][] = [
  [exec, /a graph of the client’s \(LLB\) with an operation of the kind exec/],
  [source('other://x'), /the source "other:\/\/x" of a graph of the client’s \(LLB\) is not implemented/],
  [source('https://x', { 'http.header.a': 'b' }), /the attribute http\.header\.a of a source/],
  [source('https://x', { 'http.uid': 'b' }), /invalid http\.uid "b"/],
  [source('local://x', { 'local.session': 'theirs' }), /a folder of another session/],
  [source('local://x', { 'local.followpaths': '{}' }), /invalid local\.followpaths "\{\}"/],
  [source('docker-image://x', { 'image.resolvemode': 'y' }), /invalid image\.resolvemode "y"/],
  [broken, /failed to parse llb proto op/],
  [create(DefinitionSchema, { def: [new Uint8Array()] }), /its last operation has no input/],
]
for (const [definition, message] of wrong)
  test(`refused: ${message.source}`, () => assert.throws(() => read(definition), message))

test('an empty graph is an empty file system', () => {
  assert.equal(readDefinition(create(DefinitionSchema), host).result, undefined)
})

test('inputs have the configuration that is told of them', () => {
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }
  const text = JSON.stringify({
    'containerimage.config': Buffer.from(JSON.stringify(config)).toString('base64'),
  })
  const definitions = { one: definitionOfResult('lent'), two: source('https://host/file') }
  const { one, two } = readInputs(definitions, { inputMetadata: { one: text } }, host)
  assert.deepEqual(one?.image, config)
  assert.equal(two?.image, undefined)
  assert.throws(
    () => readInputs(definitions, { inputMetadata: { one: 'no' } }, host),
    /failed to parse input metadata "no" of one/,
  )
})

const key = fc.constantFrom('local.session', 'git.fullurl', 'http.perm', 'image.layerlimit', 'oci.store', 'x')
const text = fc.oneof(fc.string(), fc.constantFrom('', '-1', '[1]', '["a"]', 'true', '#', 'host/a#b:c'))
const identifier = fc
  .tuple(fc.constantFrom('docker-image', 'local', 'git', 'https', 'oci-layout', 'berth-result', 'y'), text)
  .map(([scheme, rest]) => `${scheme}://${rest}`)
const anyDefinition = fc.oneof(
  fc.tuple(identifier, fc.dictionary(key, text)).map(([name, attrs]) => source(name, attrs)),
  fc.array(fc.uint8Array()).map(def => create(DefinitionSchema, { def })),
)

test('whatever a client gives is a graph, or refused in words', () => {
  const hostile: DefinitionHost = {
    session: 'mine',
    lent: () => {
      throw notFound('gone')
    },
  }
  fc.assert(
    fc.property(anyDefinition, definition => {
      try {
        const { vertices, result } = readDefinition(definition, hostile)
        assert.ok(!result || vertices.has(result.vertex))
      } catch (error) {
        assert.ok(error instanceof BerthError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})
