import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'
import { BerthError } from '../../core/errors.ts'
import { digestOf } from '../../oci/digest.ts'
import { type Definition, DefinitionSchema, type Op, OpSchema } from '../../wire/buildkit/ops_pb.ts'
import { GraphBuilder } from '../graph/builder.ts'
import type { ExecOperation, Graph, Operation } from '../graph/types.ts'
import { copyAction } from '../plan/context.ts'
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
  planned: () => undefined,
  lent: id => (id === 'lent' ? { name: '[1/2] RUN it' } : undefined),
  past: () => undefined,
}

const amd64 = { os: 'linux', architecture: 'amd64' }
const execOf = (changes: Partial<ExecOperation>): ExecOperation => ({
  ...{ kind: 'exec', args: ['make'], env: ['A=1'], directory: '/src', user: 'me' },
  ...{ network: 'default', security: 'sandbox', secretEnv: [], devices: [], extraHosts: [], ulimits: [] },
  ...{ proxy: {}, files: [], mounts: [] },
  ...changes,
})

/** An image, a folder of the client, a copy of one into the other, and a process with two results. */
const planned = ((): Graph => {
  const builder = new GraphBuilder()
  const base = builder.add({
    ...{ operation: { kind: 'image', reference: 'docker.io/library/a:latest', resolve: 'default' } },
    ...{ inputs: [], platform: amd64 },
    step: { name: '[1/3] FROM a', source: { file: 'Dockerfile', ranges: [{ start: 1, end: 1 }] } },
  })
  const local = builder.add({
    operation: { kind: 'local', name: 'context', sharedKey: 'context', differ: 'none' },
    ...{ inputs: [], platform: amd64, step: { name: '[internal] load build context' } },
  })
  const copy = builder.add({
    operation: {
      ...{ kind: 'file', base: 0 },
      actions: [
        { kind: 'makeDirectory', path: '/src', mode: 0o755, parents: true },
        copyAction({ from: 1, source: '/', destination: '/src' }),
      ],
    },
    ...{ inputs: [base, local], platform: amd64 },
    step: { name: '[2/3] COPY . /src', source: { file: 'Dockerfile', ranges: [{ start: 2, end: 2 }] } },
  })
  const run = builder.add({
    operation: execOf({
      mounts: [
        { kind: 'bind', target: '/', readOnly: false, input: 0, source: '/', output: 0 },
        { kind: 'bind', target: '/b', readOnly: true, input: 1, source: '/sub', output: undefined },
        {
          kind: 'cache',
          target: '/c',
          readOnly: false,
          input: undefined,
          source: '/',
          id: 'c',
          sharing: 'shared',
        },
        { kind: 'bind', target: '/o', readOnly: false, input: undefined, source: '/', output: 1 },
      ],
    }),
    ...{ inputs: [copy, local], platform: amd64 },
    step: { name: '[3/3] RUN make', source: { file: 'Dockerfile', ranges: [{ start: 3, end: 5 }] } },
  })
  return builder.graph(run)
})()
const dockerfile = { fileName: 'Dockerfile', text: 'FROM a' }
const given = definitionOfResult(planned, { id: 'lent', source: dockerfile })

const operations = ({ vertices }: Graph): Operation[] =>
  [...vertices.values()].map(({ operation }) => operation)
const read = (definition: Definition): Operation[] => operations(readDefinition(definition, host))

/** What becomes of it on its way through a client, which writes it anew. */
const sent = (definition: Definition): Definition =>
  fromBinary(DefinitionSchema, toBinary(DefinitionSchema, definition))

/** The definition that a client makes of one to have a part: another last operation. */
const partGiven = (name: string, index = 0n): Definition => {
  const { def, metadata } = sent(given)
  const [digest] = Object.entries(metadata).find(
    ([, { description }]) => description['llb.customname'] === name,
  ) ?? ['']
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest, index }] }))
  return create(DefinitionSchema, { def: [...def.slice(0, -1), last], metadata })
}

test('a result of ours is one that another build lends', () => {
  const graph = readDefinition(sent(given), host)
  const [vertex] = [...graph.vertices.values()]
  assert.deepEqual(vertex?.operation, { kind: 'result', id: 'lent' })
  assert.deepEqual(graph.result, { vertex: vertex?.digest, index: 0 })
  assert.equal(vertex?.step.name, '[1/2] RUN it')
  const gone = /a step of another build is not there any more/
  assert.throws(() => read(definitionOfResult(planned, { id: 'other' })), gone)
  assert.throws(() => read(partGiven('[2/3] COPY . /src')), gone)
  const later: DefinitionHost = { ...host, lent: () => undefined, past: () => planned }
  assert.deepEqual(readDefinition(given, later), planned)
})

test('the build that a result is of gives any part of it', () => {
  const own: DefinitionHost = {
    ...host,
    planned: vertex => (planned.vertices.has(vertex) ? planned : undefined),
  }
  assert.deepEqual(readDefinition(sent(given), own), planned)
  const names = ({ vertices }: Graph): string[] => [...vertices.values()].map(({ step }) => step.name)
  const part = readDefinition(partGiven('[2/3] COPY . /src'), own)
  assert.deepEqual(names(part), ['[1/3] FROM a', '[internal] load build context', '[2/3] COPY . /src'])
  assert.deepEqual(names(readDefinition(partGiven('[1/3] FROM a'), own)), ['[1/3] FROM a'])
  assert.equal(readDefinition(partGiven('[3/3] RUN make', 1n), own).result?.index, 1)
  assert.throws(() => readDefinition(partGiven('[3/3] RUN make', 2n), own), /kind exec has no result 2/)
  assert.throws(() => readDefinition(partGiven('[1/3] FROM a', 1n), own), /kind image has no result 1/)
})

test('clients find in a definition of ours what they look for', () => {
  const { def, metadata, source: told } = sent(given)
  const ops = new Map(def.map(bytes => [digestOf(bytes) as string, fromBinary(OpSchema, bytes)]))
  for (const digest of ops.keys()) assert.ok(metadata[digest])
  const byName = (name: string): [digest: string, op: Op] => {
    const [digest = ''] = Object.keys(metadata).filter(
      one => metadata[one]?.description['llb.customname'] === name,
    )
    return [digest, ops.get(digest) ?? assert.fail(name)]
  }
  const [runDigest, run] = byName('[3/3] RUN make')
  const [copyDigest, copy] = byName('[2/3] COPY . /src')
  const [localDigest, local] = byName('[internal] load build context')
  const [baseDigest, base] = byName('[1/3] FROM a')
  assert.equal([...ops.values()].at(-1)?.inputs[0]?.digest, runDigest)
  assert.deepEqual(
    [run, copy, local, base].map(({ inputs }) => inputs.map(({ digest }) => digest)),
    [[copyDigest, localDigest], [baseDigest, localDigest], [], []],
  )
  const exec = run.op.case === 'exec' ? run.op.value : assert.fail()
  assert.deepEqual(
    [exec.meta?.args, exec.meta?.env, exec.meta?.cwd, exec.meta?.user],
    [...[['make'], ['A=1'], '/src', 'me']],
  )
  assert.deepEqual(
    exec.mounts.map(({ dest, input, output, selector, readonly }) => [
      dest,
      input,
      output,
      selector,
      readonly,
    ]),
    [
      ['/', 0n, 0n, '', false],
      ['/b', 1n, -1n, '/sub', true],
      ['/c', -1n, -1n, '', false],
      ['/o', -1n, 1n, '', false],
    ],
  )
  const files = copy.op.case === 'file' ? copy.op.value.actions : assert.fail()
  assert.deepEqual(
    files.map(({ input, secondaryInput, output, action }) => [action.case, input, secondaryInput, output]),
    [
      ['mkdir', 0n, -1n, -1n],
      ['copy', 2n, 1n, 0n],
    ],
  )
  assert.deepEqual(
    [base, local].map(({ op }) => op.case === 'source' && op.value.identifier),
    ['docker-image://docker.io/library/a:latest', 'local://context'],
  )
  assert.equal(Buffer.from(told?.infos[0]?.data ?? []).toString(), 'FROM a')
  const ranges = (digest: string) =>
    told?.locations[digest]?.locations[0]?.ranges.map(({ start, end }) => [start?.line, end?.line])
  assert.deepEqual([runDigest, copyDigest, localDigest, baseDigest].map(ranges), [
    ...[[[3, 5]], [[2, 2]], undefined, [[1, 1]]],
  ])
})

/** Numbers of the fields of a message, in their order. */
const fieldNumbers = (bytes: Uint8Array): number[] => {
  const reader = new BinaryReader(bytes)
  const numbers: number[] = []
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    numbers.push(number)
    reader.skip(type, number)
  }
  return numbers
}

test('what is one of several comes last, as Go writes it', () => {
  const { def } = given
  // Inputs, platform, constraints; then the operation.
  assert.deepEqual(def.map(fieldNumbers), [
    [10, 11, 3],
    [10, 11, 3],
    [1, 1, 10, 11, 4],
    [1, 1, 10, 11, 2],
    [1],
  ])
})

test('an empty result of ours comes back as one, by an operation that clients can take', () => {
  const empty = sent(definitionOfResult({ vertices: new Map(), result: undefined }, { id: 'lent' }))
  assert.equal(readDefinition(empty, host).result, undefined)
  assert.equal(empty.def.length, 2)
  for (const bytes of empty.def) assert.ok(empty.metadata[digestOf(bytes)])
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
  const definitions = { one: given, two: source('https://host/file') }
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
    ...{ planned: () => undefined, lent: () => undefined, past: () => undefined },
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
