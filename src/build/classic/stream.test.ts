import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import type { Vertex, VertexDigest } from '../graph/types.ts'
import type { VertexState } from '../solver/types.ts'
import { ClassicStream } from './stream.ts'

const texts = ['FROM base', 'RUN one', 'RUN two']

const vertexAt = (line: number): Vertex => ({
  digest: digestOf(`${line}`) as VertexDigest,
  inputs: [],
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: 'amd64' },
  step: { name: '', source: { file: 0, ranges: [{ start: line, end: line }] } } as unknown as Vertex['step'],
})

/** Two steps that run side by side after the first. */
const start = () => {
  let said = ''
  const stream = new ClassicStream(text => {
    said += text
  })
  const vertices = texts.map((_text, index) => vertexAt(index + 1))
  stream.begin(
    texts.map((text, index) => ({ text, line: index + 1 })),
    vertices,
  )
  return {
    stream,
    said: () => said,
    state: (line: number, state: VertexState) =>
      stream.hear({ kind: 'vertex', vertex: vertexAt(line), state }),
    writes: (line: number, bytes: string | Uint8Array) =>
      stream.hear({
        ...{ kind: 'output', vertex: vertexAt(line).digest, stream: 'stdout', time: 0n },
        bytes: Buffer.from(bytes),
      }),
  }
}

test('steps are told one after another, with what each wrote in its place', () => {
  const { stream, state, writes, said } = start()
  state(1, 'cached')
  writes(3, 'early\n')
  writes(2, 'first\n')
  state(3, 'done')
  state(2, 'done')
  stream.end()
  assert.equal(
    said(),
    'Step 1/3 : FROM base\n ---> Using cache\nStep 2/3 : RUN one\nfirst\nStep 3/3 : RUN two\nearly\n',
  )
})

test('a step that fails before its turn is told with what it wrote', () => {
  const { state, writes, said } = start()
  state(1, 'done')
  writes(3, 'no such file\n')
  state(3, 'failed')
  assert.equal(said(), 'Step 1/3 : FROM base\nStep 2/3 : RUN one\nStep 3/3 : RUN two\nno such file\n')
})

test('a character that comes in two parts is whole', () => {
  const { state, writes, said } = start()
  state(1, 'done')
  const bytes = Buffer.from('\u00e9\n')
  writes(2, bytes.subarray(0, 1))
  writes(2, bytes.subarray(1))
  assert.ok(said().endsWith('Step 2/3 : RUN one\n\u00e9\n'))
})

test('of what waits for its turn, what is too much is left out, and that is said', () => {
  const { state, writes, said } = start()
  state(1, 'done')
  for (let count = 0; count < 40; count++) writes(3, 'x'.repeat(100_000))
  state(2, 'done')
  assert.ok(said().length < 2_000_000)
  assert.equal(said().split('[output clipped').length, 2)
})
