import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import type { Repository } from '../../registry-client/types.ts'
import type { ContentStore } from '../../store/types.ts'
import { type UploadBlob, type UploadState, Uploads } from './pushUploads.ts'

const text = 'a blob'
const descriptor = { digest: digestOf(text), size: text.length, mediaType: mediaTypes.ociLayerGzip }
const content = {
  open: (_digest: string, { start }: { start: number }) => Readable.from([Buffer.from(text.slice(start))]),
} as unknown as ContentStore

const unasked = (): never => {
  throw new Error('nobody asks for this')
}

/** A registry that has nothing, and where an upload waits until it is let go. */
const heldRegistry = (given: Partial<Repository> = {}) => {
  const go = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const signals: AbortSignal[] = []
  const received: string[] = []
  const repository: Repository = {
    manifest: unasked,
    resolve: unasked,
    blob: unasked,
    tags: unasked,
    hasManifest: unasked,
    putManifest: unasked,
    hasBlob: async () => false,
    mountBlob: async () => false,
    uploadBlob: async (_descriptor, open, { signal, sent }) => {
      signals.push(signal)
      begun.resolve()
      await go.promise
      signal.throwIfAborted()
      for await (const chunk of open(0)) received.push(chunk.toString())
      sent?.(text.length)
    },
    ...given,
  }
  return { repository, signals, received, begun: begun.promise, go }
}

const blobOf = (repository: Repository, given: Partial<UploadBlob> = {}): UploadBlob => ({
  ...{ repository, place: 'r.example/a', descriptor, source: '', here: true },
  ...given,
})

const never = new AbortController().signal
const quiet = (): void => {}

test('two pushes of a blob to one repository share an upload, and both hear of it', async () => {
  const uploads = new Uploads(content, 5)
  const held = heldRegistry()
  const heard: UploadState[][] = [[], []]
  const first = uploads.send(blobOf(held.repository), state => heard[0]?.push(state), never)
  await held.begun
  const other = heldRegistry({ hasBlob: unasked })
  const second = uploads.send(blobOf(other.repository), state => heard[1]?.push(state), never)
  held.go.resolve()
  assert.deepEqual(await Promise.all([first, second]), ['pushed', 'pushed'])
  assert.deepEqual(held.received, [text])
  for (const states of heard)
    assert.deepEqual(states, [
      { stage: 'pushing', current: 0 },
      { stage: 'pushing', current: text.length },
    ])
})

test('one who leaves does not stop the other; when all have left it ends', async () => {
  const uploads = new Uploads(content, 5)
  const held = heldRegistry()
  const [one, two] = [new AbortController(), new AbortController()]
  const first = uploads.send(blobOf(held.repository), quiet, one.signal)
  await held.begun
  const second = uploads.send(blobOf(held.repository), quiet, two.signal)
  one.abort(new Error('left'))
  await assert.rejects(first, /left/)
  assert.equal(held.signals[0]?.aborted, false)
  two.abort(new Error('left, too'))
  await assert.rejects(second, /left, too/)
  assert.equal(held.signals[0]?.aborted, true)
})

test('a failure that may be another client’s is no failure of ours', async () => {
  const uploads = new Uploads(content, 5)
  const held = heldRegistry({
    uploadBlob: async () => {
      await held.go.promise
      throw new Error('denied')
    },
  })
  const own = heldRegistry()
  own.go.resolve()
  const first = uploads.send(blobOf(held.repository), quiet, never)
  const second = uploads.send(blobOf(own.repository), quiet, never)
  held.go.resolve()
  await assert.rejects(first, /denied/)
  assert.equal(await second, 'pushed')
  assert.deepEqual(own.received, [text])
})

test('nothing is sent that is there, that can be mounted, or that is not here', async () => {
  const uploads = new Uploads(content, 5)
  const there = heldRegistry({ hasBlob: async () => true, mountBlob: unasked, uploadBlob: unasked })
  assert.equal(await uploads.send(blobOf(there.repository), quiet, never), 'exists')
  const mounted = heldRegistry({ mountBlob: async (_digest, from) => from === 'b', uploadBlob: unasked })
  assert.deepEqual(await uploads.send(blobOf(mounted.repository, { source: 'b' }), quiet, never), {
    from: 'b',
  })
  const absent = heldRegistry({ uploadBlob: unasked })
  const missing = blobOf(absent.repository, { source: 'c', here: false })
  assert.equal(await uploads.send(missing, quiet, never), 'missing')
})

test('no more go at a time than may; other repositories are other uploads', async () => {
  const uploads = new Uploads(content, 1)
  const held = heldRegistry()
  const next = heldRegistry()
  const first = uploads.send(blobOf(held.repository), quiet, never)
  await held.begun
  const states: string[] = []
  const waiting = uploads.send(
    blobOf(next.repository, { place: 'r.example/b' }),
    ({ stage }) => states.push(stage),
    never,
  )
  next.go.resolve()
  assert.deepEqual(states, ['waiting'])
  held.go.resolve()
  assert.deepEqual(await Promise.all([first, waiting]), ['pushed', 'pushed'])
  assert.deepEqual(states, ['waiting', 'pushing', 'pushing'])
})
