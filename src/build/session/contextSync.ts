import { existsSync } from 'node:fs'
import { BerthError } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { FileSync } from '../../wire/buildkit/filesync_pb.ts'
import { ListComparison, type ListDigest } from './contextList.ts'
import type { Received } from './contextTask.ts'
import type { ContextWork, ContextWorker } from './contextWorker.ts'
import { frame } from './grpcFrames.ts'
import type { GrpcStream } from './grpcStream.ts'
import { encodeMetadata, type Metadata } from './metadata.ts'
import { packet, packetTypes, writePacket } from './packets.ts'
import { pathOf, type Session } from './session.ts'
import type { ContextRequest, SyncedFolder } from './types.ts'

/** Folders of clients, brought here. */

const method = pathOf(FileSync.method.diffCopy)

export const contextMetadata = (request: Omit<ContextRequest, 'differ'>): Metadata =>
  encodeMetadata({
    'dir-name': [request.name],
    'include-patterns': request.include,
    'exclude-patterns': request.exclude,
    followpaths: request.follow,
  })

/** Errors: `no-local-sources`, where the client gives no folders; those of a stream. */
export const openContext = (
  session: Session,
  request: Omit<ContextRequest, 'differ'>,
  signal: AbortSignal,
): GrpcStream => {
  if (!session.supports(method)) throw new BerthError('no-local-sources', 400, 'no local sources enabled')
  return session.stream(method, { metadata: contextMetadata(request), signal })
}

/** What names the folder in which the files of a client's folder are kept from one build to the next. */
export const sharedKeyOf = (session: Session, { name, hint }: { name: string; hint: string }): string =>
  `${name}:${hint}:${session.sharedKey}`

export interface SyncOptions {
  session: Session
  request: ContextRequest
  signal: AbortSignal
  /** Bytes that came in all, of lists and files. */
  onProgress?(bytes: number): void
}

/** What is known of a folder that nobody has touched since. */
interface Known {
  version: string
  list: ListDigest
}

/**
 * A folder that holds what a client's folder held the last time. `<path>.index`
 * and `<path>.arriving` beside it are its own. Files in it are never changed:
 * hard links to them stay as they are.
 */
export class ContextFolder {
  readonly path: string
  readonly #worker: ContextWorker
  #known: Known | undefined

  /** One folder has one of these at a time. */
  constructor(path: string, worker: ContextWorker) {
    this.path = path
    this.#worker = worker
  }

  /**
   * Makes it what the client's is; only one of these at a time. Errors: `no-local-sources`; what the client says
   * (`not-found` where it gives no folder of the name), `session-closed`, the
   * signal's reason; `bad-request` for entries that no client sends.
   */
  async sync({ session, request, signal, onProgress = () => {} }: SyncOptions): Promise<SyncedFolder> {
    using stream = openContext(session, request, signal)
    const chunks = counted(stream.chunks(), onProgress)
    const known = request.differ === 'metadata' && existsSync(this.path) ? this.#known : undefined
    const { isSame, held } = known ? await compare(chunks, known) : { isSame: false, held: [] }
    if (known && isSame) {
      await agree(stream, chunks, held)
      return { version: known.version, entries: [], received: { files: 0, bytes: 0 } }
    }
    this.#known = undefined
    const { tree, list } = await this.#receive({ stream, chunks, held, request })
    this.#known = { version: newId(), list }
    return { ...tree, version: this.#known.version }
  }

  async #receive({ stream, chunks, held, request }: Receiving): Promise<Received> {
    const work = this.#worker.start({ folder: this.path, differ: request.differ }, bytes => {
      // What ends the writing ends the reading, too, which tells of it.
      stream.write(bytes).catch(() => {})
    })
    try {
      const received = await Promise.race([pump(work, chunks, held), work.failed])
      stream.endSending()
      return received
    } finally {
      await work.leave()
    }
  }
}

type Chunks = AsyncGenerator<Uint8Array, void>

interface Receiving {
  stream: GrpcStream
  chunks: Chunks
  /** What came before. */
  held: readonly Uint8Array[]
  request: ContextRequest
}

async function* counted(chunks: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): Chunks {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    tell(bytes)
    yield chunk
  }
}

const pump = async (work: ContextWork, chunks: Chunks, held: readonly Uint8Array[]): Promise<Received> => {
  for (const chunk of held) await work.push(chunk)
  for await (const chunk of chunks) await work.push(chunk)
  return await work.end()
}

/** Whether the list is the one that is known. `held`: what follows it where it is, else all that has come. */
const compare = async (
  chunks: Chunks,
  { list }: Known,
): Promise<{ isSame: boolean; held: readonly Uint8Array[] }> => {
  const comparison = new ListComparison(list)
  // Not by `for await`, which would end them.
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    const outcome = comparison.take(next.value)
    if (outcome?.isSame) return { isSame: true, held: [outcome.rest] }
    if (outcome) break
  }
  return { isSame: false, held: comparison.held }
}

const finPacket = frame(writePacket(packet(packetTypes.fin)))

/** Nothing is asked for: both sides say that they have done. Errors: `bad-message`. */
const agree = async (stream: GrpcStream, chunks: Chunks, held: readonly Uint8Array[]): Promise<void> => {
  await stream.write(finPacket)
  let said = Buffer.concat(held)
  // What is more than that is wrong, however much it is.
  while (said.length <= finPacket.length) {
    const { value, done } = await chunks.next()
    if (done) break
    said = Buffer.concat([said, value])
  }
  if (!said.equals(finPacket))
    throw new BerthError(
      'bad-message',
      400,
      'the client did not end when nothing of its folder was asked for',
    )
  stream.endSending()
}
