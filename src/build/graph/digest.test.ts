import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GraphBuilder } from './builder.ts'
import { digestOfVertex } from './digest.ts'
import { addDraft, type Draft, InputList } from './draft.ts'
import type { Edge, ExecOperation, FileOperation, Operation, Vertex } from './types.ts'

const amd64 = { os: 'linux', architecture: 'amd64' }
const arm64 = { os: 'linux', architecture: 'arm64' }

const image = (reference: string): Operation => ({ kind: 'image', reference, resolve: 'default' })
const made = (path: string, base: 0 | undefined = undefined): FileOperation => ({
  kind: 'file',
  base,
  actions: [{ kind: 'makeFile', path, content: '', mode: 0o644 }],
})
const exec = (changes: Partial<ExecOperation> = {}): ExecOperation => ({
  kind: 'exec',
  args: ['make'],
  env: ['A=1'],
  directory: '/',
  user: '',
  network: 'default',
  security: 'sandbox',
  mounts: [],
  secretEnv: [],
  devices: [],
  extraHosts: [],
  ulimits: [],
  proxy: {},
  files: [],
  ...changes,
})

type Parts = Pick<Vertex, 'operation' | 'inputs' | 'platform'>
const parts = (operation: Operation, platform = amd64, inputs: Edge[] = []): Parts => ({
  operation,
  platform,
  inputs,
})
const edge = (index = 0): Edge => ({ vertex: `sha256:${'1'.repeat(64)}`, index })

const pairs: [what: string, one: Parts, other: Parts, isEqual: boolean][] = [
  ['the same', parts(exec()), parts(exec()), true],
  ['other proxies', parts(exec()), parts(exec({ proxy: { http_proxy: 'a' } })), true],
  [
    'other order of keys',
    parts({ kind: 'image', reference: 'a', resolve: 'default' }),
    parts({ resolve: 'default', reference: 'a', kind: 'image' }),
    true,
  ],
  ['files for another platform', parts(made('/a')), parts(made('/a'), arm64), true],
  ['images for another platform', parts(image('a')), parts(image('a'), arm64), false],
  ['processes on another platform', parts(exec()), parts(exec(), arm64), false],
  ['another command', parts(exec()), parts(exec({ args: ['make', 'a'] })), false],
  ['words split in another way', parts(exec({ args: ['a b'] })), parts(exec({ args: ['a', 'b'] })), false],
  [
    'another order of variables',
    parts(exec({ env: ['A=1', 'B=2'] })),
    parts(exec({ env: ['B=2', 'A=1'] })),
    false,
  ],
  ['another host name', parts(exec()), parts(exec({ hostname: 'a' })), false],
  ['another input', parts(made('/a')), parts(made('/a'), amd64, [edge()]), false],
  ['another result', parts(made('/a'), amd64, [edge()]), parts(made('/a'), amd64, [edge(1)]), false],
]
for (const [what, one, other, isEqual] of pairs)
  test(`${what}: ${isEqual ? 'the same digest' : 'another digest'}`, () =>
    assert.equal(digestOfVertex(one) === digestOfVertex(other), isEqual))

test('what is undefined is as what is not there', () => {
  const named = { ...exec(), hostname: undefined } as unknown as ExecOperation
  assert.equal(digestOfVertex(parts(named)), digestOfVertex(parts(exec())))
})

test('the digest of a vertex stays what it was', () =>
  assert.equal(
    digestOfVertex(parts(image('docker.io/library/alpine:latest'))),
    'sha256:a4549deb2f388fd86abb35f8f17c66a14eb0c723061e403461d3abe9ce2bc590',
  ))

const step = (name: string, ignoreCache = false) => ({ name, ...(ignoreCache ? { ignoreCache } : {}) })

test('of equal vertices there is one, with the step that came first', () => {
  const builder = new GraphBuilder()
  const first = builder.add({ ...parts(image('a')), step: step('first') })
  const second = builder.add({ ...parts(image('a')), step: step('second', true) })
  assert.deepEqual(first, second)
  const { vertices } = builder.graph(first)
  assert.deepEqual(
    [...vertices.values()].map(vertex => vertex.step),
    [{ name: 'first', ignoreCache: true }],
  )
})

test('a graph has what its result needs, each after what it takes', () => {
  const builder = new GraphBuilder()
  const base = builder.add({ ...parts(image('base')), step: step('base') })
  builder.add({ ...parts(image('other')), step: step('other') })
  const left = builder.add({ ...parts(made('/l', 0), amd64, [base]), step: step('left') })
  const right = builder.add({ ...parts(made('/r', 0), amd64, [base]), step: step('right') })
  const both = builder.add({ ...parts({ kind: 'merge' }, amd64, [left, right]), step: step('both') })
  const names = [...builder.graph(both).vertices.values()].map(vertex => vertex.step.name)
  assert.deepEqual(names, ['base', 'left', 'right', 'both'])
  assert.equal(builder.graph(undefined).vertices.size, 0)
  const more = new GraphBuilder()
  assert.deepEqual(more.include(builder.graph(both)), both)
  assert.deepEqual(more.graph(both), builder.graph(both))
})

test('drafts are added as they are at the end, in chains of any length', () => {
  let reference = 'early'
  let draft: Draft = { operation: () => image(reference), inputs: [], platform: amd64, step: step('late') }
  for (let count = 0; count < 20_000; count++)
    draft = { operation: made(`/${count}`, 0), inputs: [draft], platform: amd64, step: step('file') }
  reference = 'late'
  const builder = new GraphBuilder()
  const graph = builder.graph(addDraft(builder, draft))
  assert.equal(graph.vertices.size, 20_001)
  assert.deepEqual([...graph.vertices.values()][0]?.operation, image('late'))
})

test('inputs have numbers, the same one for the same', () => {
  const draft: Draft = { operation: image('a'), inputs: [], platform: amd64, step: step('a') }
  const inputs = new InputList()
  assert.deepEqual([inputs.add(undefined), inputs.add(draft), inputs.add(draft)], [undefined, 0, 0])
  assert.deepEqual(inputs.drafts, [draft])
})
