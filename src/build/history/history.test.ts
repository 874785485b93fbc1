import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import type { Vertex } from '../graph/types.ts'
import { BuildProgress } from '../solver/progress.ts'
import { BuildHistory, type OpenBuildRecord } from './history.ts'
import { defaultLimits, type HistoryLimits } from './limits.ts'
import type { BuildRecord, HistoryEvent } from './types.ts'

const folder = (t: TestContext): string => {
  const root = mkdtempSync(path.join(tmpdir(), 'berth-history-'))
  t.after(() => rmSync(root, { recursive: true }))
  return path.join(root, 'history')
}

const fails = (error: unknown): never => {
  throw error
}

const openHistory = (root: string, limits: Partial<HistoryLimits> = {}): Promise<BuildHistory> =>
  BuildHistory.open({ root, limits: { ...defaultLimits, ...limits }, onError: fails })

const vertex: Vertex = {
  digest: `sha256:${'1'.repeat(64)}`,
  inputs: [],
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: 'amd64' },
  step: { name: '[2/2] RUN make' },
}

interface Going {
  progress: BuildProgress
  open: OpenBuildRecord
}

const begin = (history: BuildHistory, ref: string, attributes: Record<string, string> = {}): Going => {
  const progress = new BuildProgress()
  const exporters = [{ type: 'moby', attributes: { name: 'x' } }]
  return { progress, open: history.begin({ ref, frontend: '', attributes, exporters }, progress) }
}

const say = (progress: BuildProgress, text: string): void =>
  progress.hear({
    kind: 'output',
    vertex: vertex.digest,
    stream: 'stdout',
    bytes: Buffer.from(text),
    time: 3n,
  })

const run = (progress: BuildProgress): void => {
  progress.hear({ kind: 'causes', vertex: vertex.digest, causes: [{ kind: 'first' }] })
  progress.hear({ kind: 'vertex', vertex, state: 'running', startedAt: 1n })
}

const finish = async ({ progress, open }: Going, response = {}): Promise<void> => {
  progress.end()
  await open.end({ response })
}

/** What its steps wrote. */
const output = async (history: BuildHistory, ref: string): Promise<string> => {
  const told = await Array.fromAsync(history.told(ref, new AbortController().signal))
  return Buffer.concat(told.flatMap(({ logs }) => logs.map(({ msg }) => msg))).toString()
}

const refsOf = async (history: BuildHistory): Promise<string[]> => {
  const refs: string[] = []
  for await (const { ref } of history.records()) refs.push(ref)
  return refs
}

/** Until the condition holds of what the folder has; each look waits for the disk. */
const untilThere = async (root: string, kind: string): Promise<string> => {
  for (;;) {
    const found = readdirSync(root).find(name => name.endsWith(kind))
    if (found) return path.join(root, found)
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('a build is recorded with what was asked for, its steps and why they ran, its log and its result', async t => {
  const root = folder(t)
  const history = await openHistory(root)
  const events: HistoryEvent[] = []
  using _heard = history.listen(event => events.push(event))
  const going = begin(history, 'one', { target: 'x', 'build-arg:P': 'http://me:word@proxy' })
  going.open.asked('dockerfile.v0', { target: 'other', filename: 'Dockerfile' })
  run(going.progress)
  say(going.progress, 'making\n')
  going.progress.hear({ kind: 'vertex', vertex, state: 'done', startedAt: 1n, completedAt: 4n })
  assert.equal(history.running('one')?.record.ref, 'one')
  const along = output(history, 'one')
  await finish(going, { 'containerimage.digest': 'sha256:abc' })
  const record = await history.record('one')
  assert.equal(record.frontend, 'dockerfile.v0')
  assert.deepEqual(record.attributes, {
    ...{ target: 'x', 'build-arg:P': 'http://xxxxx@proxy', filename: 'Dockerfile' },
  })
  assert.deepEqual(record.counts, { total: 1, completed: 1, cached: 0, warnings: 0 })
  assert.deepEqual(
    record.steps.map(({ name, why, startedAt }) => [name, why, startedAt]),
    [['[2/2] RUN make', ['nothing like it was made before'], '1970-01-01T00:00:00.000000001Z']],
  )
  assert.deepEqual(record.response, { 'containerimage.digest': 'sha256:abc' })
  assert.deepEqual([await along, await output(history, 'one')], ['making\n', 'making\n'])
  assert.deepEqual(events, [
    { kind: 'started', ref: 'one' },
    { kind: 'complete', ref: 'one' },
  ])
  assert.equal(history.running('one'), undefined)
  const again = await openHistory(root)
  assert.deepEqual(await again.record('one'), record)
  assert.equal(await output(again, 'one'), 'making\n')
  const bytes = readFileSync(await untilThere(root, '.log'))
  const blob = await again.blob(digestOf(bytes))
  assert.equal(blob?.size, bytes.length)
  const part: Buffer[] = []
  for await (const piece of blob?.read({ start: 2, size: 5 }) ?? []) part.push(piece)
  assert.deepEqual(Buffer.concat(part), bytes.subarray(2, 7))
})

test('a build whose steps write nothing is one file', async t => {
  const root = folder(t)
  const history = await openHistory(root)
  const going = begin(history, 'quiet')
  going.progress.hear({ kind: 'vertex', vertex, state: 'cached', startedAt: 1n, completedAt: 1n })
  await finish(going)
  assert.deepEqual(
    readdirSync(root).map(name => path.extname(name)),
    ['.json'],
  )
  const { log, counts } = await history.record('quiet')
  assert.equal(counts.cached, 1)
  assert.ok(log.bytes && log.size > 0)
  assert.equal(log.digest, digestOf(Buffer.from(log.bytes, 'base64')))
  const [told] = await Array.fromAsync(history.told('quiet', new AbortController().signal))
  assert.equal(told?.vertexes[0]?.cached, true)
})

test('what a build is told is on disk as it comes, and a later daemon records that it ended', async t => {
  const root = folder(t)
  const first = await openHistory(root)
  const going = begin(first, 'killed', { target: 'x' })
  run(going.progress)
  say(going.progress, 'half\n')
  const log = await untilThere(root, '.log')
  while (!readFileSync(log).includes('half')) await new Promise(resolve => setImmediate(resolve))
  // The daemon dies here: a message was not written to its end.
  truncateSync(log, readFileSync(log).length)
  writeFileSync(log, Buffer.from([9, 0, 0, 0, 1]), { flag: 'a' })
  writeFileSync(path.join(root, '.new-12345678'), '{')
  const history = await openHistory(root)
  const record = await history.record('killed')
  assert.match(record.error?.message ?? '', /the daemon ended before the build did/)
  assert.deepEqual(record.attributes, { target: 'x' })
  const [step] = record.steps
  assert.equal(step?.name, '[2/2] RUN make')
  assert.match(step?.error ?? '', /the daemon ended/)
  assert.ok(step?.completedAt)
  assert.equal(await output(history, 'killed'), 'half\n')
  assert.deepEqual(
    readdirSync(root)
      .map(name => path.extname(name))
      .sort(),
    ['.json', '.log'],
  )
  going.progress.end()
  await going.open.end({})
})

test('a record that is there with its note, and one that a power cut emptied', async t => {
  const root = folder(t)
  const history = await openHistory(root)
  await finish(begin(history, 'whole'))
  await finish(begin(history, 'empty'))
  const names = readdirSync(root)
  const isWhole = (name: string): boolean => readFileSync(path.join(root, name), 'utf8').includes('whole')
  const [whole = ''] = names.filter(isWhole)
  writeFileSync(path.join(root, whole.replace('.json', '.open')), '{}')
  const [empty = ''] = names.filter(name => !isWhole(name))
  truncateSync(path.join(root, empty))
  const again = await openHistory(root)
  assert.deepEqual(await refsOf(again), ['whole'])
  assert.deepEqual(readdirSync(root), [whole])
})

test('records beyond the limits go when a build ends, but what is pinned', async t => {
  const root = folder(t)
  const history = await openHistory(root, { maxEntries: 1, maxAge: -1000 })
  await finish(begin(history, 'a'))
  await history.pin('a', true)
  assert.equal((await history.record('a')).generation, 1)
  await finish(begin(history, 'b'))
  await finish(begin(history, 'c'))
  assert.deepEqual(await refsOf(history), ['c', 'a'])
  await history.pin('a', false)
  await finish(begin(history, 'd'))
  assert.deepEqual(await refsOf(await openHistory(root)), ['d'])
  assert.equal(readdirSync(root).length, 1)
})

test('a record is removed; that of a later build of the same ref takes its place', async t => {
  const root = folder(t)
  const history = await openHistory(root)
  await finish(begin(history, 'same', { target: 'one' }))
  const events: HistoryEvent[] = []
  using _heard = history.listen(event => events.push(event))
  const going = begin(history, 'same', { target: 'two' })
  await assert.rejects(history.remove('same'), /under way/)
  await finish(going)
  assert.equal((await history.record('same')).attributes['target'], 'two')
  assert.equal(readdirSync(root).length, 1)
  assert.equal(history.refOf('sa'), 'same')
  await finish(begin(history, 'saw'))
  assert.equal(history.refOf('sa'), undefined)
  await history.remove('same')
  await assert.rejects(history.remove('same'), /no record of a build same/)
  assert.deepEqual(events.at(-1), { kind: 'deleted', ref: 'same' })
  assert.deepEqual(await refsOf(history), ['saw'])
})

test('an error is kept with its details, which are read by their digest', async t => {
  const history = await openHistory(folder(t))
  const { progress, open } = begin(history, 'bad')
  progress.end()
  const details = Buffer.from('all of it')
  await open.end({ error: { code: 2, message: 'cannot fetch https://me:word@host', details } })
  const { error }: BuildRecord = await history.record('bad')
  assert.equal(error?.message, 'cannot fetch https://xxxxx@host')
  const blob = await history.blob(digestOf(details))
  assert.deepEqual(await Array.fromAsync(blob?.read() ?? []), [details])
})

test('a log is kept up to its bound, and says so', async t => {
  const history = await openHistory(folder(t))
  const going = begin(history, 'long')
  run(going.progress)
  const piece = 'x'.repeat(1 << 20)
  for (let i = 0; i < 12; i++) say(going.progress, piece)
  await finish(going)
  const text = await output(history, 'long')
  assert.equal(text.match(/later output is not in it/g)?.length, 1)
  assert.equal(text.replaceAll(/[^x]/g, '').length, 8 << 20)
})

test('a folder that cannot be written to fails no build', async t => {
  const root = folder(t)
  const errors: unknown[] = []
  const history = await BuildHistory.open({
    ...{ root, limits: defaultLimits },
    onError: error => errors.push(error),
  })
  const going = begin(history, 'lost')
  rmSync(root, { recursive: true })
  run(going.progress)
  say(going.progress, 'x')
  await finish(going)
  assert.ok(errors.length > 0)
  await assert.rejects(history.record('lost'), /no record/)
})

test('an old record that cannot be removed fails neither the build that ends nor a start', async t => {
  const root = folder(t)
  const errors: unknown[] = []
  const options = {
    ...{ root, limits: { ...defaultLimits, maxEntries: 1, maxAge: -1000 } },
    onError: (error: unknown) => errors.push(error),
  }
  const history = await BuildHistory.open(options)
  await finish(begin(history, 'old'))
  const [name = ''] = readdirSync(root)
  // A folder is no file that could go.
  mkdirSync(path.join(root, name.replace('.json', '.log')))
  await finish(begin(history, 'new'))
  assert.equal(errors.length, 1)
  assert.deepEqual(await refsOf(history), ['new'])
  assert.deepEqual(await refsOf(await BuildHistory.open(options)), ['new'])
})
