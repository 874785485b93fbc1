import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VertexDigest } from '../../build/graph/types.ts'
import { StatusFeed } from './statusFeed.ts'
import type { StatusEvent } from './types.ts'

const vertex: VertexDigest = 'sha256:1'
const output = (bytes: Buffer): StatusEvent => ({ kind: 'output', vertex, stream: 'stdout', bytes, time: 0n })
const part = (current: number): StatusEvent => ({
  kind: 'status',
  time: 0n,
  vertex,
  part: { id: 'layer', name: 'layer', current, total: 10, startedAt: 0n },
})

const all = async (feed: StatusFeed, signal = new AbortController().signal): Promise<StatusEvent[]> =>
  (await Array.fromAsync(feed.follow(signal))).flat()

test('who comes early and who comes late hear the same, in order', async () => {
  const feed = new StatusFeed()
  const early = all(feed)
  const events = Array.from({ length: 1000 }, (_, index) => output(Buffer.from(`${index}\n`)))
  for (const event of events) feed.tell(event)
  const between = all(feed)
  await new Promise(resolve => setImmediate(resolve))
  feed.tell({ kind: 'warning', vertex, text: 'late' })
  feed.end()
  feed.tell({ kind: 'warning', vertex, text: 'behind the end' })
  const heard = await early
  assert.deepEqual(heard, [...events, { kind: 'warning', vertex, text: 'late' }])
  assert.deepEqual(await between, heard)
  assert.deepEqual(await all(feed), heard)
})

test('of a part only how far it is now is kept', async () => {
  const feed = new StatusFeed()
  for (let count = 0; count <= 10; count++) feed.tell(part(count))
  feed.end()
  assert.deepEqual(await all(feed), [part(10)])
})

test('output is kept up to a bound, and what is gone is told of', async () => {
  const feed = new StatusFeed()
  for (let count = 0; count < 40; count++) feed.tell(output(Buffer.alloc(1024 * 1024, count)))
  feed.end()
  const kept = (await all(feed)).map(event => (event.kind === 'output' ? event.bytes : Buffer.alloc(0)))
  assert.equal(String(kept[0]), '[earlier output is not kept]\n')
  assert.deepEqual(kept.at(-1), Buffer.alloc(1024 * 1024, 39))
  assert.ok(kept.length > 10 && kept.length < 18, String(kept.length))
})

test('who leaves is let go', async () => {
  const feed = new StatusFeed()
  const controller = new AbortController()
  const heard = all(feed, controller.signal)
  feed.tell(part(1))
  await new Promise(resolve => setImmediate(resolve))
  controller.abort()
  assert.deepEqual(await heard, [part(1)])
})
