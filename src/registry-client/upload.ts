import type { Descriptor } from '../oci/image.ts'
import type { Ask, Endpoint } from './endpoint.ts'
import { failure, troubleOf } from './failures.ts'
import { parseUploadRange, single } from './headers.ts'
import { pauseAfter, pauseFor, type RetryOptions } from './retry.ts'
import type { Answer } from './transport.ts'
import type { TransferFollower } from './types.ts'

/**
 * Sending a blob (distribution specification, "Pushing blobs"): a session is opened by POST; a small blob goes with the
 * PUT that ends it; a large one in chunks by PATCH, so that a cut costs a chunk at most; a registry that refuses chunks
 * gets it in one piece.
 */

export interface Upload extends Omit<RetryOptions, 'follow'> {
  endpoint: Endpoint
  descriptor: Descriptor
  /** `library/busybox/blobs/` */
  folder: string
  open(offset: number): AsyncIterable<Uint8Array>
  ask: Pick<Ask, 'scopes' | 'subject'>
  sent: ((bytes: number) => void) | undefined
  follower: TransferFollower | undefined
}

/** A session that a registry keeps for an upload. */
export interface Session {
  location: URL
  /** Bytes that the registry has. */
  offset: number
  /** `OCI-Chunk-Min-Length` */
  shortest: number
}

export const defaultChunk = 16 * 1024 * 1024
const largestShortest = 256 * 1024 * 1024

const broken = (upload: Pick<Upload, 'endpoint'>, why: string, transient = false): Error =>
  failure('registry-failed', 500, `${upload.endpoint.host.base}: ${why}`, { transient, spoke: true })

const locationOf = (upload: Pick<Upload, 'endpoint'>, answer: Answer): URL => {
  const location = single(answer.headers['location']) ?? ''
  const target =
    location !== '' && URL.canParse(location, answer.url) ? new URL(location, answer.url) : undefined
  if (!target || !/^https?:$/.test(target.protocol)) throw broken(upload, 'names no place for the upload')
  return target
}

/** The session of a 202. */
export const sessionOf = (upload: Pick<Upload, 'endpoint'>, answer: Answer): Session => {
  const shortest = Number(single(answer.headers['oci-chunk-min-length']) ?? 0)
  return {
    location: locationOf(upload, answer),
    offset: 0,
    shortest: Number.isSafeInteger(shortest) ? Math.min(Math.max(shortest, 0), largestShortest) : 0,
  }
}

const begin = async (upload: Upload): Promise<Session> => {
  const answer = await upload.endpoint.expect(
    {
      ...upload.ask,
      method: 'POST',
      target: `${upload.folder}uploads/`,
      headers: { 'content-length': '0' },
      signal: upload.signal,
    },
    [202],
  )
  await answer.body.discard()
  return sessionOf(upload, answer)
}

/** `length` bytes from `offset` on; the source must have them. */
async function* cut(upload: Upload, offset: number, length: number): AsyncGenerator<Uint8Array> {
  let left = length
  if (left === 0) return
  for await (const chunk of upload.open(offset)) {
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk
    left -= part.length
    yield part
    if (left === 0) return
  }
  throw failure(
    'blob-short',
    500,
    `blob ${upload.descriptor.digest} ended ${left} bytes early while it was sent`,
    {
      transient: false,
      spoke: false,
    },
  )
}

async function* counted(upload: Upload, offset: number, length: number): AsyncGenerator<Uint8Array> {
  let at = offset
  for await (const part of cut(upload, offset, length)) {
    yield part
    at += part.length
    upload.sent?.(at)
  }
}

const sending = (upload: Upload, offset: number, length: number): Pick<Ask, 'headers' | 'body'> => ({
  headers: { 'content-type': 'application/octet-stream', 'content-length': String(length) },
  ...(length > 0 ? { body: () => counted(upload, offset, length) } : {}),
})

const finish = async (upload: Upload, session: Session, offset: number): Promise<void> => {
  const url = new URL(session.location)
  // What the registry wrote stays as it is: it may be signed.
  url.search += `${url.search === '' ? '?' : '&'}digest=${encodeURIComponent(upload.descriptor.digest)}`
  const length = upload.descriptor.size - offset
  const answer = await upload.endpoint.expect(
    { ...upload.ask, ...sending(upload, offset, length), method: 'PUT', target: url, signal: upload.signal },
    [201, 204],
  )
  await answer.body.discard()
}

/** Chunks that a registry does not take at all, by status. */
const noChunks = [400, 404, 405, 411, 413, 415, 501]

/** How often a registry and we may differ on what it has, before the blob goes in one piece. */
const mostDisagreements = 2

type Patched = 'taken' | 'disagrees' | 'no chunks'

const patch = async (upload: Upload, session: Session): Promise<Patched> => {
  const length = Math.min(Math.max(defaultChunk, session.shortest), upload.descriptor.size - session.offset)
  const part = sending(upload, session.offset, length)
  const ask: Ask = {
    ...upload.ask,
    ...part,
    headers: { ...part.headers, 'content-range': `${session.offset}-${session.offset + length - 1}` },
    method: 'PATCH',
    target: session.location,
    signal: upload.signal,
  }
  const answer = await upload.endpoint.ask(ask)
  if (answer.status === 202 || answer.status === 204) {
    await answer.body.discard()
    session.location = locationOf(upload, answer)
    const before = session.offset
    session.offset = parseUploadRange(single(answer.headers['range'])) ?? before + length
    return session.offset > before && session.offset <= before + length ? 'taken' : 'disagrees'
  }
  if (answer.status === 416) {
    await answer.body.discard()
    return 'disagrees'
  }
  if (session.offset === 0 && noChunks.includes(answer.status)) {
    await answer.body.discard()
    return 'no chunks'
  }
  throw await upload.endpoint.refuse(ask, answer)
}

/** How far a session is, after a cut; undefined where the registry knows it no more. */
const status = async (upload: Upload, session: Session): Promise<Session | undefined> => {
  const ask: Ask = { ...upload.ask, method: 'GET', target: session.location, signal: upload.signal }
  const answer = await upload.endpoint.ask(ask)
  if (answer.status === 429 || answer.status >= 500) throw await upload.endpoint.refuse(ask, answer)
  await answer.body.discard()
  const offset = parseUploadRange(single(answer.headers['range']))
  if (![200, 202, 204].includes(answer.status) || offset === undefined || offset > upload.descriptor.size)
    return undefined
  const location = answer.headers['location'] === undefined ? session.location : locationOf(upload, answer)
  return { ...session, location, offset }
}

/** A registry need not keep a session until it forgets it by itself. A failure of this harms nobody. */
const abandon = async (upload: Upload, session: Session): Promise<void> => {
  const signal = AbortSignal.timeout(5_000)
  const ask: Ask = { ...upload.ask, method: 'DELETE', target: session.location, signal }
  await upload.endpoint.ask(ask).then(
    answer => answer.body.discard(),
    () => {},
  )
}

const exists = async (upload: Upload): Promise<boolean> => {
  const target = `${upload.folder}${upload.descriptor.digest}`
  const answer = await upload.endpoint.ask({ ...upload.ask, method: 'HEAD', target, signal: upload.signal })
  await answer.body.discard()
  return answer.status === 200
}

/** An upload as far as it has come. */
class Progress {
  session: Session | undefined
  chunked: boolean
  readonly #upload: Upload

  constructor(upload: Upload, session: Session | undefined) {
    this.#upload = upload
    this.session = session
    this.chunked = upload.descriptor.size > defaultChunk
  }

  /** To the end, or to an error. */
  async run(): Promise<void> {
    const upload = this.#upload
    for (let stuck = 0; ; ) {
      const session = this.session ?? (await begin(upload))
      this.session = session
      if (!this.chunked || session.offset >= upload.descriptor.size)
        return finish(upload, session, session.offset)
      const result = await patch(upload, session)
      if (result === 'taken') continue
      stuck += 1
      if (result === 'no chunks' || stuck > mostDisagreements) {
        this.chunked = false
        await this.restart()
      } else this.session = await status(upload, session)
    }
  }

  /** After a failure: where the registry is with it. True where it is done. */
  async resume(): Promise<boolean> {
    const upload = this.#upload
    if (!this.session) return false
    if (await exists(upload)) return true
    if (this.chunked) this.session = await status(upload, this.session)
    else await this.restart()
    return false
  }

  async restart(): Promise<void> {
    const { session } = this
    this.session = undefined
    if (session) await abandon(this.#upload, session)
  }
}

/** Sends a blob. Errors: as a registry refuses, `registry-unreachable`, `digest-mismatch` where the bytes are others. */
export const uploadBlob = async (upload: Upload, begun: Session | undefined): Promise<void> => {
  const progress = new Progress(upload, begun)
  let failed = 0
  for (let reached = 0; ; ) {
    try {
      if (failed > 0 && (await progress.resume())) return
      return await progress.run()
    } catch (error) {
      const { transient, after } = troubleOf(error)
      const offset = progress.session?.offset ?? 0
      failed = offset > reached ? 1 : failed + 1
      reached = Math.max(reached, offset)
      if (upload.signal.aborted || !transient || failed >= Math.max(upload.attempts, 1)) {
        await progress.restart()
        throw upload.signal.aborted ? upload.signal.reason : error
      }
      const pause = pauseAfter(failed, upload.timings, after)
      upload.follower?.retry?.(error instanceof Error ? error.message : String(error), offset, pause)
      await pauseFor(pause, upload.signal).catch(async stopped => {
        await progress.restart()
        throw stopped
      })
    }
  }
}
