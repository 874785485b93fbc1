import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatusResponse } from '../../wire/buildkit/control_pb.ts'
import type { VertexDigest } from '../graph/types.ts'
import type { StatusUpdate, VertexInfo } from '../solver/progress.ts'
import { logText } from './logText.ts'
import { statusMessage } from './statusMessages.ts'

const [one, two, three]: VertexDigest[] = ['sha256:1', 'sha256:2', 'sha256:3']
const vertex = (digest: VertexDigest = 'sha256:0', more: Partial<VertexInfo> = {}): VertexInfo => ({
  ...{ digest, inputs: [], name: `step ${digest}`, cached: false, error: '' },
  ...more,
})
const second = 1_000_000_000n

const update = (more: Partial<StatusUpdate>): StatusUpdate => ({
  ...{ vertexes: [], statuses: [], logs: [], warnings: [] },
  ...more,
})

const textOf = async (updates: StatusUpdate[]): Promise<string> => {
  const messages = async function* (): AsyncGenerator<StatusResponse> {
    for (const one of updates) yield statusMessage(one)
  }
  return (await Array.fromAsync(logText(messages()))).join('')
}

const says = (digest: VertexDigest = 'sha256:0', text: string): StatusUpdate['logs'][number] => ({
  ...{ vertex: digest, stream: 'stdout', bytes: Buffer.from(text), time: 1n },
})

test('steps, their output line by line, and how they ended', async () => {
  const text = await textOf([
    update({ vertexes: [vertex(one), vertex(two, { startedAt: second })] }),
    update({ logs: [says(two, 'first\nhalf ')] }),
    update({ vertexes: [vertex(one, { startedAt: second, completedAt: second, cached: true })] }),
    update({
      logs: [says(two, 'a line\nrest')],
      vertexes: [vertex(two, { startedAt: second, completedAt: (second * 5n) / 2n })],
    }),
    update({
      vertexes: [vertex(three, { startedAt: second, completedAt: 2n * second, error: 'it broke' })],
      logs: [says(three, 'why\n')],
      warnings: [{ vertex: 'sha256:3', level: 1, short: 'careful', detail: [], url: '' }],
    }),
  ])
  assert.equal(
    text,
    [
      ...['#1 step sha256:2', '#1 first', '#2 step sha256:1', '#2 CACHED', ''],
      ...['#1 half a line', '#1 rest', '#1 DONE 1.5s', ''],
      ...['#3 step sha256:3', '#3 why', '#3 ERROR: it broke', '', 'WARN: careful', ''],
    ].join('\n'),
  )
})

test('a step that did not end keeps what it wrote', async () => {
  const text = await textOf([
    update({ vertexes: [vertex(one, { startedAt: 1n })], logs: [says(one, 'half')] }),
  ])
  assert.equal(text, '#1 step sha256:1\n#1 half\n')
})
