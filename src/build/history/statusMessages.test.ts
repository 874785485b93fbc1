import assert from 'node:assert/strict'
import { test } from 'node:test'
import { statusMessage } from './statusMessages.ts'

test('a message says of vertices, parts, output and warnings what a build does', () => {
  const vertex = 'sha256:1'
  const range = { start: { line: 2, character: 0 }, end: { line: 3, character: 1 } }
  const message = statusMessage({
    vertexes: [
      {
        ...{ digest: vertex, inputs: ['sha256:0'], name: 'RUN', group: 'together', cached: true },
        ...{ startedAt: 1_500_000_000n, completedAt: 2_000_000_001n, error: 'gone' },
      },
    ],
    statuses: [{ vertex, id: 'a', name: 'a', current: 1, total: 2, startedAt: 3n, time: 4n }],
    logs: [{ vertex, stream: 'stderr', bytes: Buffer.from('x'), time: 5n }],
    warnings: [
      {
        ...{ vertex, level: 1, short: 'short', detail: ['more'], url: 'https://example.com' },
        source: { file: 'Dockerfile', text: Buffer.from('FROM x'), language: 'Dockerfile', ranges: [range] },
      },
    ],
  })
  const [step] = message.vertexes
  assert.deepEqual(
    [step?.digest, step?.inputs, step?.cached, step?.error],
    [vertex, ['sha256:0'], true, 'gone'],
  )
  assert.deepEqual(
    [step?.started?.seconds, step?.started?.nanos, step?.completed?.nanos],
    [1n, 500_000_000, 1],
  )
  assert.equal(step?.progressGroup?.id, 'together')
  const [part] = message.statuses
  assert.deepEqual(
    [part?.current, part?.total, part?.timestamp?.nanos, part?.completed],
    [1n, 2n, 4, undefined],
  )
  assert.deepEqual([message.logs[0]?.stream, String(message.logs[0]?.msg)], [2n, 'x'])
  const [warning] = message.warnings
  assert.deepEqual([String(warning?.short), warning?.detail.map(String)], ['short', ['more']])
  assert.equal(String(warning?.info?.data), 'FROM x')
  assert.deepEqual([warning?.ranges[0]?.start?.line, warning?.ranges[0]?.end?.character], [2, 1])
})
