import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import type { BlobOptions, Repository } from '../../registry-client/types.ts'
import { Database } from '../../store/database.ts'
import { openStores } from '../../store/fixture.ts'
import { Fetches, type FetchState } from './fetches.ts'

const text = 'a blob in two parts'
const descriptor = { digest: digestOf(text), size: text.length, mediaType: mediaTypes.ociLayer }

const unasked = (): never => {
  throw new Error('nobody asks for this')
}

/** A repository whose blobs come as a test lets them. */
const repositoryOf = (blob: (options: BlobOptions) => AsyncIterable<Uint8Array>): Repository => ({
  manifest: unasked,
  resolve: unasked,
  tags: unasked,
  hasBlob: unasked,
  hasManifest: unasked,
  mountBlob: unasked,
  uploadBlob: unasked,
  putManifest: unasked,
  blob: (_descriptor, options) => blob(options),
})

const openFetches = async (context: TestContext, width = 3) => {
  const stores = await openStores()
  const folder = mkdtempSync('/tmp/berth-fetches-')
  const database = await Database.open(join(folder, 'berth.db'))
  context.after(async () => {
    await database.close()
    await stores[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })
  const { content, layers } = stores
  return { content, database, fetches: new Fetches({ content, layers, database, width }) }
}

/** Gives the first part, and the second when it is let go; counts who asks. */
const heldSource = () => {
  const go = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const offsets: number[] = []
  const signals: AbortSignal[] = []
  const repository = repositoryOf(async function* ({ offset = 0, signal }) {
    offsets.push(offset)
    signals.push(signal)
    if (offset < 7) yield Buffer.from(text.slice(offset, 7))
    begun.resolve()
    await go.promise
    yield Buffer.from(text.slice(Math.max(7, offset)))
  })
  return { repository, offsets, signals, go: () => go.resolve(), begun: begun.promise }
}

const stagesInto = (stages: string[]) => (state: FetchState) => {
  if (stages.at(-1) !== state.stage) stages.push(state.stage)
}

test('two who want the same share one fetch, and both hear of it', async context => {
  const { content, fetches } = await openFetches(context)
  const source = heldSource()
  const [one, two]: string[][] = [[], []]
  using first = fetches.join(source.repository, descriptor, stagesInto(one ?? []))
  await source.begun
  using second = fetches.join(repositoryOf(unasked), descriptor, stagesInto(two ?? []))
  assert.deepEqual([first.own, second.own], [true, false])
  source.go()
  await Promise.all([first.stored, second.stored])
  assert.deepEqual(source.offsets, [0])
  assert.deepEqual(one, ['downloading', 'verifying', 'complete'])
  assert.deepEqual(two, ['downloading', 'verifying', 'complete'])
  assert.equal((await content.bytes(descriptor.digest)).toString(), text)
})

test('one who leaves does not stop the other; when all have left it ends, and the next goes on', async context => {
  const { content, fetches } = await openFetches(context)
  const source = heldSource()
  const first = fetches.join(source.repository, descriptor, () => {})
  const second = fetches.join(source.repository, descriptor, () => {})
  await source.begun
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.equal(source.signals[0]?.aborted, false)
  second[Symbol.dispose]()
  assert.equal(source.signals[0]?.aborted, true)
  // Begun at once: it waits for the file that the one before still holds.
  using next = fetches.join(source.repository, descriptor, () => {})
  assert.equal(next.own, true)
  source.go()
  await next.stored
  assert.deepEqual(source.offsets, [0, 7])
  assert.equal((await content.bytes(descriptor.digest)).toString(), text)
})

test('who comes after a failure begins anew, where it was', async context => {
  const { content, fetches } = await openFetches(context)
  const failing = repositoryOf(async function* () {
    yield Buffer.from(text.slice(0, 3))
    throw new Error('no more')
  })
  using first = fetches.join(failing, descriptor, () => {})
  using second = fetches.join(failing, descriptor, () => {})
  await assert.rejects(first.stored, /no more/)
  await assert.rejects(second.stored, /no more/)
  const source = heldSource()
  source.go()
  using third = fetches.join(source.repository, descriptor, () => {})
  await third.stored
  assert.deepEqual([third.own, source.offsets], [true, [3]])
  assert.ok(await content.info(descriptor.digest))
})

test('what an earlier attempt left, and is wrong, is fetched from nothing', async context => {
  const { content, fetches } = await openFetches(context)
  {
    await using partial = await content.partial(descriptor)
    await partial.append(
      (async function* () {
        yield Buffer.from('WRONG')
      })(),
    )
  }
  const source = heldSource()
  source.go()
  using fetching = fetches.join(source.repository, descriptor, () => {})
  await fetching.stored
  assert.deepEqual(source.offsets, [5, 0])
  assert.equal((await content.bytes(descriptor.digest)).toString(), text)
})

test('a source that gives wrong bytes is asked once', async context => {
  const { content, fetches } = await openFetches(context)
  let asked = 0
  const wrong = repositoryOf(async function* () {
    asked++
    yield Buffer.from(text.toUpperCase())
  })
  using fetching = fetches.join(wrong, descriptor, () => {})
  await assert.rejects(fetching.stored, { code: 'digest-mismatch' })
  assert.equal(asked, 1)
  assert.deepEqual(await Array.fromAsync(content.partials()), [])
})

test('no more come at a time than may; who waits and leaves is passed over', async context => {
  const { fetches } = await openFetches(context, 1)
  const source = heldSource()
  const others = ['one', 'two'].map(other => ({ ...descriptor, digest: digestOf(other), size: 3 }))
  const given = repositoryOf(async function* () {
    yield Buffer.from('two')
  })
  using first = fetches.join(source.repository, descriptor, () => {})
  await source.begun
  const stages: string[] = []
  const left = fetches.join(repositoryOf(unasked), others[0] ?? descriptor, () => {})
  using waiting = fetches.join(given, others[1] ?? descriptor, stagesInto(stages))
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(stages, ['waiting'])
  left[Symbol.dispose]()
  source.go()
  await first.stored
  await waiting.stored
  assert.deepEqual(stages, ['waiting', 'downloading', 'verifying', 'complete'])
})

test('a blob is held as long as one needs it', async context => {
  const { fetches } = await openFetches(context)
  const one = fetches.hold(descriptor.digest)
  const two = fetches.hold(descriptor.digest)
  one[Symbol.dispose]()
  assert.equal(fetches.isHeld(descriptor.digest), true)
  two[Symbol.dispose]()
  assert.equal(fetches.isHeld(descriptor.digest), false)
})
