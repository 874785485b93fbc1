import { BerthError } from '../../core/errors.ts'
import { SerialQueue } from '../../core/queue.ts'
import { FileSync } from '../../wire/buildkit/filesync_pb.ts'
import type { ContextWork, ContextWorker } from './contextWorker.ts'
import type { GrpcStream } from './grpcStream.ts'
import { encodeMetadata, type Metadata } from './metadata.ts'
import { pathOf, type Session } from './session.ts'
import type { ContextRequest, SyncedTree } from './types.ts'

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

/**
 * A folder that holds what a client's folder held the last time. `<path>.index`
 * and `<path>.arriving` beside it are its own. Files in it are never changed:
 * hard links to them stay as they are.
 */
export class ContextFolder {
  readonly path: string
  readonly #worker: ContextWorker
  readonly #queue = new SerialQueue()

  /** One folder has one of these at a time. */
  constructor(path: string, worker: ContextWorker) {
    this.path = path
    this.#worker = worker
  }

  /**
   * Makes it what the client's is, and gives it to `use`; no other sync begins
   * before that settles. Errors: `no-local-sources`; what the client says
   * (`not-found` where it gives no folder of the name), `session-closed`, the
   * signal's reason; `bad-request` for entries that no client sends.
   */
  sync<T>(options: SyncOptions, use: (tree: SyncedTree) => Promise<T>): Promise<T> {
    return this.#queue.run(async () => use(await this.#receive(options)), options.signal)
  }

  async #receive({ session, request, signal, onProgress }: SyncOptions): Promise<SyncedTree> {
    using stream = openContext(session, request, signal)
    const work = this.#worker.start({ folder: this.path, differ: request.differ }, bytes => {
      // What ends the writing ends the reading, too, which tells of it.
      stream.write(bytes).catch(() => {})
    })
    try {
      const tree = await Promise.race([pump(stream, work, onProgress), work.failed])
      stream.endSending()
      return tree
    } finally {
      await work.leave()
    }
  }
}

const pump = async (
  stream: GrpcStream,
  work: ContextWork,
  onProgress?: (bytes: number) => void,
): Promise<SyncedTree> => {
  let bytes = 0
  for await (const chunk of stream.chunks()) {
    bytes += chunk.length
    onProgress?.(bytes)
    await work.push(chunk)
  }
  return await work.end()
}
