import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Vertex } from '../graph/types.ts'
import { BuildProgress, type StatusUpdate } from './progress.ts'
import { benchOf, build } from './testing/builds.ts'
import { Script } from './testing/graphs.ts'
import type { BuildEvent, VertexState } from './types.ts'

const script = new Script()
const [base, one, two] = (() => {
  const first = script.image('alpine')
  const second = script.run(first, 'one')
  const graph = script.graph(script.run(second, 'two'))
  return [...graph.vertices.values()] as [Vertex, Vertex, Vertex]
})()

const event = (vertex: Vertex, state: VertexState, times: bigint[] = [], error?: string): BuildEvent => {
  const [startedAt, completedAt] = times
  return {
    kind: 'vertex',
    vertex,
    state,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(completedAt === undefined ? {} : { completedAt }),
    ...(error === undefined ? {} : { error }),
  }
}

const output = (vertex: Vertex, text: string): BuildEvent => ({
  kind: 'output',
  vertex: vertex.digest,
  stream: 'stdout',
  bytes: Buffer.from(text),
  time: 1n,
})

const progressOf = (events: BuildEvent[], mostLogBytes?: number): BuildProgress => {
  const progress = new BuildProgress(mostLogBytes)
  for (const one of events) progress.hear(one)
  return progress
}

const readAll = async (progress: BuildProgress): Promise<StatusUpdate[]> => {
  const updates: StatusUpdate[] = []
  for await (const update of progress.read()) updates.push(update)
  return updates
}

/** `name started completed cached error` of each, as it was told last. */
const lines = (updates: StatusUpdate[]): string[] => {
  const last = new Map(updates.flatMap(({ vertexes }) => vertexes.map(vertex => [vertex.digest, vertex])))
  return [...last.values()].map(
    ({ name, startedAt = '-', completedAt = '-', cached, error }) =>
      `${name} ${startedAt} ${completedAt}${cached ? ' cached' : ''}${error ? ` ${error}` : ''}`,
  )
}

const logs = (updates: StatusUpdate[]): string =>
  updates.flatMap(update => update.logs.map(({ bytes }) => Buffer.from(bytes).toString())).join('')

test('who comes late hears of all that was, in its last state', async () => {
  const progress = progressOf([
    event(base, 'waiting'),
    event(one, 'waiting'),
    event(base, 'running', [1n]),
    event(base, 'done', [1n, 2n]),
    event(one, 'running', [3n]),
    output(one, 'hello'),
    event(one, 'failed', [3n, 4n], 'broken'),
  ])
  progress.end()
  const updates = await readAll(progress)
  assert.equal(updates.length, 1)
  assert.deepEqual(lines(updates), ['FROM alpine 1 2', 'RUN one 3 4 broken'])
  assert.deepEqual(updates[0]?.vertexes[1]?.inputs, [base.digest])
  assert.equal(logs(updates), 'hello')
})

test('who reads along hears what changes, once', async () => {
  const progress = progressOf([event(base, 'waiting'), event(one, 'waiting')])
  const reader = progress.read()
  assert.equal((await reader.next()).value?.vertexes.length, 2)
  const next = reader.next()
  progress.hear(event(base, 'running', [1n]))
  progress.hear(output(base, 'a'))
  const update: StatusUpdate | undefined = (await next).value ?? undefined
  assert.deepEqual(
    update?.vertexes.map(({ name }) => name),
    ['FROM alpine'],
  )
  assert.equal(logs(update ? [update] : []), 'a')
  const last = reader.next()
  progress.hear(output(base, 'b'))
  progress.hear(event(base, 'done', [1n, 2n]))
  progress.end()
  assert.equal(logs([(await last).value ?? { vertexes: [], statuses: [], logs: [], warnings: [] }]), 'b')
  assert.equal((await reader.next()).done, true)
})

test('what is found makes all that it stands on and nobody asked for cached', async () => {
  const progress = progressOf([
    event(base, 'waiting'),
    event(one, 'waiting'),
    event(two, 'waiting'),
    event(two, 'cached', [5n, 5n]),
  ])
  progress.end()
  assert.deepEqual(lines(await readAll(progress)).sort(), [
    'FROM alpine 5 5 cached',
    'RUN one 5 5 cached',
    'RUN two 5 5 cached',
  ])
})

test('what was done before stays as it was', async () => {
  const progress = progressOf([event(base, 'done', [1n, 2n]), event(one, 'running', [5n])])
  progress.hear(event(one, 'done', [5n, 6n]))
  progress.end()
  assert.deepEqual(lines(await readAll(progress)), ['FROM alpine 1 2', 'RUN one 5 6'])
})

test('at the end, what was under way was cancelled, and what never began is as it was', async () => {
  const progress = progressOf([event(one, 'waiting'), event(base, 'running', [1n])])
  progress.end()
  const [first, second] = lines(await readAll(progress))
  assert.equal(first, 'RUN one - -')
  assert.match(second ?? '', /^FROM alpine 1 \d+ context canceled$/)
  const told = progressOf([event(base, 'cancelled', [1n, 2n])])
  told.end()
  assert.deepEqual(lines(await readAll(told)), ['FROM alpine 1 2 context canceled'])
})

test('parts are told in their last state', async () => {
  const part = { id: 'layer', name: 'extracting', total: 10, startedAt: 1n }
  const status = (current: number): BuildEvent => ({
    kind: 'status',
    vertex: base.digest,
    part: { ...part, current },
    time: BigInt(current),
  })
  const progress = progressOf([status(1), status(5)])
  progress.end()
  const [update] = await readAll(progress)
  assert.deepEqual(update?.statuses, [{ ...part, current: 5, vertex: base.digest, time: 5n }])
})

test('warnings are told with their places', async () => {
  const progress = progressOf([{ kind: 'warning', vertex: base.digest, text: 'careful' }])
  const range = { start: { line: 1, character: 0 }, end: { line: 1, character: 0 } }
  const source = { file: 'Dockerfile', text: Buffer.from('FROM x'), language: 'Dockerfile', ranges: [range] }
  progress.warn({ vertex: base.digest, level: 2, short: 'more', detail: ['a'], url: 'u', source })
  progress.end()
  const [update] = await readAll(progress)
  assert.deepEqual(
    update?.warnings.map(({ short, level }) => [short, level]),
    [
      ['careful', 1],
      ['more', 2],
    ],
  )
  assert.deepEqual(update?.warnings[1]?.source, source)
})

test('output beyond a bound goes, the oldest first, with a notice', async () => {
  const progress = progressOf([output(one, 'aaaa'), output(two, 'bbbb'), output(two, 'cccc')], 8)
  progress.end()
  const updates = await readAll(progress)
  assert.equal(logs(updates), '[earlier output dropped, too much of this build]\nbbbbcccc')
  assert.equal(updates[0]?.logs[0]?.vertex, one.digest)
})

test('a message holds no more than gRPC takes', async () => {
  const progress = progressOf(Array.from({ length: 30 }, () => output(one, 'x'.repeat(100_000))))
  progress.end()
  const updates = await readAll(progress)
  assert.equal(logs(updates).length, 3_000_000)
  for (const { logs } of updates) assert.ok(logs.reduce((sum, { bytes }) => sum + bytes.length, 0) <= 1 << 20)
})

test('who stops reading leaves the build alone', async () => {
  const progress = progressOf([event(base, 'running', [1n])])
  const controller = new AbortController()
  const reader = progress.read(controller.signal)
  await reader.next()
  const next = reader.next()
  controller.abort(new Error('enough'))
  await assert.rejects(next, /enough/)
  progress.hear(event(base, 'done', [1n, 2n]))
})

test('a whole build is told, and why its steps ran', async () => {
  const bench = await benchOf({ images: { alpine: { '/a': '1' } } })
  const graph = script.graph({ vertex: two.digest, index: 0 })
  const { events } = await build(bench, graph)
  const progress = progressOf(events)
  progress.end()
  const updates = await readAll(progress)
  assert.deepEqual(
    updates[0]?.vertexes.map(({ name, cached, error, completedAt }) => [
      name,
      cached,
      error,
      completedAt !== undefined,
    ]),
    ['FROM alpine', 'RUN one', 'RUN two'].map(name => [name, false, '', true]),
  )
  assert.deepEqual([...progress.causes.values()], [[{ kind: 'first' }], [{ kind: 'first' }]])
})
