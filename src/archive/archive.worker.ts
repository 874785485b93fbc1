import { open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { BerthError, messageOf } from '../core/errors.ts'
import { SystemError } from '../linux/ffi.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, openIn, owned, ownUmask } from '../linux/files.ts'
import { S_IFLNK, S_IFMT, S_IFREG, statAt } from '../linux/stat.ts'
import { Budget } from './budget.ts'
import { treeChanges } from './changes.ts'
import { compareLayer } from './compare.ts'
import { completeLayer } from './complete.ts'
import { composeStack } from './compose.ts'
import { Directories } from './directories.ts'
import { Extractor } from './extractor.ts'
import { fileDigest } from './fileDigest.ts'
import { gzip } from './gzip.ts'
import { type TaskControl, unpackLayer } from './layer.ts'
import { measureTree } from './measure.ts'
import { mergedRoot } from './merged.ts'
import { packChanges, packTree } from './pack.ts'
import { packLayer } from './packLayer.ts'
import { TarParser } from './parser.ts'
import { baseOf, parentOf, toBytes } from './paths.ts'
import { reduceCopy } from './reduce.ts'
import { relabelTree } from './relabel.ts'
import { removeAt } from './removal.ts'
import { settleLayer } from './settle.ts'
import {
  CHUNK,
  type ChangesTask,
  type ErrorRecord,
  type ExtractTask,
  type FromWorker,
  type TaskName,
  type Tasks,
  type ToWorker,
  type TreeChange,
  WINDOW,
} from './tasks.ts'

/** The worker's side: runs tasks, several at a time where they wait for streams. */

const cancelled = (): Error => new BerthError('cancelled', 499, 'the work was cancelled')

const port = parentPort
const send = (message: FromWorker, transfer: ArrayBuffer[] = []): void => port?.postMessage(message, transfer)

/** One task's streams: input that came and is not yet taken, output that was sent and is not yet taken. */
class Job implements TaskControl {
  readonly #id: number
  #input: Uint8Array[] = []
  #inputEnded = false
  #credits = WINDOW
  #cut = false
  #wake: () => void = () => {}

  constructor(id: number) {
    this.#id = id
  }

  hear(message: ToWorker): void {
    if (message.kind === 'chunk') this.#input.push(message.bytes)
    else if (message.kind === 'end') this.#inputEnded = true
    else if (message.kind === 'taken') this.#credits++
    else if (message.kind === 'cut') this.#cut = true
    this.#wake()
  }

  check(): void {
    if (this.#cut) throw cancelled()
  }

  progress(bytes: number): void {
    send({ id: this.#id, kind: 'progress', bytes })
  }

  async *input(): AsyncGenerator<Buffer> {
    for (;;) {
      await this.#until(() => this.#input.length > 0 || this.#inputEnded)
      const bytes = this.#input.shift()
      if (!bytes) return
      yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      send({ id: this.#id, kind: 'taken' })
    }
  }

  async output(chunks: Iterable<Buffer>): Promise<void> {
    let gathered = Buffer.allocUnsafeSlow(CHUNK)
    let length = 0
    const flush = async (): Promise<void> => {
      await this.#until(() => this.#credits > 0)
      this.#credits--
      send({ id: this.#id, kind: 'chunk', bytes: gathered.subarray(0, length) }, [gathered.buffer])
      gathered = Buffer.allocUnsafeSlow(CHUNK)
      length = 0
    }
    for (const chunk of chunks)
      for (let at = 0; at < chunk.length; ) {
        const count = chunk.copy(gathered, length, at)
        length += count
        at += count
        if (length === CHUNK) await flush()
      }
    if (length > 0) await flush()
  }

  /** Pieces as they come. */
  async pass(pieces: AsyncIterable<Buffer>): Promise<void> {
    for await (const piece of pieces) {
      await this.#until(() => this.#credits > 0)
      this.#credits--
      // A small one may lie in memory that others share, or be there for good.
      const isOwn = piece.length > CHUNK / 2 && piece.length * 2 > piece.buffer.byteLength
      const bytes = isOwn ? piece : new Uint8Array(piece)
      send({ id: this.#id, kind: 'chunk', bytes }, [bytes.buffer as ArrayBuffer])
    }
  }

  async #until(ready: () => boolean): Promise<void> {
    for (this.check(); !ready(); this.check())
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
  }
}

const openDirectory = (path: string): { fd: number } & Disposable =>
  owned(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY))

const findChanges = (task: ChangesTask): TreeChange[] => {
  using root = openDirectory(task.directory)
  using lower = mergedRoot(task.layers)
  return treeChanges(root.fd, lower, task.kind)
}

const changedSize = (task: ChangesTask): number => {
  using root = openDirectory(task.directory)
  using directories = new Directories(root.fd)
  const seen = new Set<number>()
  let sum = 0
  for (const { path, kind } of findChanges(task)) {
    if (kind === 'deleted') continue
    const stat = statAt(directories.find(parentOf(path)), toBytes(baseOf(path)))
    if (![S_IFREG, S_IFLNK].includes(stat.mode & S_IFMT) || seen.has(stat.inode)) continue
    if (stat.links > 1) seen.add(stat.inode)
    sum += stat.size
  }
  return sum
}

const extract = async (task: ExtractTask, job: Job): Promise<void> => {
  using root = openDirectory(task.root)
  using target = owned(openIn(root.fd, toBytes(task.path || '.'), { flags: O_RDONLY | O_DIRECTORY }))
  using extractor = new Extractor(target.fd, new Budget(target.fd), {
    ...(task.owner ? { owner: task.owner } : {}),
    keepKinds: task.keepKinds ?? false,
    ...(task.maps ? { maps: task.maps } : {}),
  })
  const parser = new TarParser(extractor)
  for await (const chunk of job.input()) {
    job.check()
    parser.write(chunk)
  }
  parser.end()
  extractor.finish()
}

/** A file's bytes; each chunk overwrites the one before. */
async function* readThrough(path: string, job: Job): AsyncGenerator<Buffer> {
  await using file = await open(path)
  const chunk = Buffer.allocUnsafeSlow(CHUNK)
  for (let bytes = 0; ; job.progress(bytes)) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK, bytes)
    if (bytesRead === 0) return
    yield chunk.subarray(0, bytesRead)
    bytes += bytesRead
  }
}

type Runner<T extends TaskName> = (
  input: Tasks[T]['input'],
  job: Job,
) => Tasks[T]['result'] | Promise<Tasks[T]['result']> | void | Promise<void>

const runners: { [T in TaskName]: Runner<T> } = {
  unpackLayer,
  followLayer: unpackLayer,
  completeLayer,
  composeStack,
  compareLayer,
  fileDigest,
  changes: findChanges,
  changedSize,
  measure: ({ directory, symlinks = false }) => {
    using root = openDirectory(directory)
    return measureTree(root.fd, { symlinks })
  },
  remove: ({ directory }) => {
    using parent = openDirectory(dirname(directory))
    removeAt(parent.fd, basename(directory))
  },
  relabel: ({ source, label }) => relabelTree(source, label),
  extract,
  pack: async (task, job) => {
    using root = openDirectory(task.root)
    await job.output(
      packTree(root.fd, {
        path: task.path,
        ...(task.as === undefined ? {} : { as: task.as }),
        ...(task.maps ? { maps: task.maps } : {}),
      }),
    )
  },
  packLayer: (task, job) => packLayer(task, job),
  layerDigest: (task, job) => packLayer(task, { check: () => job.check() }),
  reduceCopy,
  settleLayer,
  module: async ({ module, input }, job) => {
    const { task } = (await import(module)) as { task: (input: unknown, control: TaskControl) => unknown }
    return await task(input, job)
  },
  gzip: ({ path, level }, job) => job.pass(gzip(readThrough(path, job), level)),
  packChanges: async (task, job) => {
    using root = openDirectory(task.directory)
    await job.output(packChanges(root.fd, findChanges(task)))
  },
}

const recordOf = (error: unknown): ErrorRecord => {
  const message = messageOf(error)
  if (error instanceof BerthError) return { code: error.code, status: error.status, message }
  if (error instanceof SystemError) return { code: 'system', status: 500, message, errno: error.code }
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  return {
    code: code === undefined ? 'internal' : 'system',
    status: 500,
    message,
    ...(code === undefined ? {} : { errno: code }),
  }
}

const jobs = new Map<number, Job>()

const start = async (message: ToWorker & { kind: 'start' }): Promise<void> => {
  const job = new Job(message.id)
  jobs.set(message.id, job)
  try {
    // The table ties each name to its input; a message has lost that tie.
    const run = runners[message.task] as Runner<TaskName>
    const result = await run(message.input as never, job)
    send({ id: message.id, kind: 'done', result })
  } catch (error) {
    send({ id: message.id, kind: 'failed', error: recordOf(error) })
  } finally {
    jobs.delete(message.id)
  }
}

ownUmask()
port?.on('message', (message: ToWorker) => {
  if (message.kind === 'start') void start(message)
  else jobs.get(message.id)?.hear(message)
})
