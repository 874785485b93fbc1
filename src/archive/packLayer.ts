import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { badRequest } from '../core/errors.ts'
import { AT_FDCWD, closeFd, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { isWhiteout, S_IFDIR, S_IFMT, statIfThere } from '../linux/stat.ts'
import type { Digest } from '../oci/digest.ts'
import { isOpaque, namesOf, readWhiteouts } from './merged.ts'
import { Packer } from './pack.ts'
import {
  type ByteString,
  baseOf,
  comparePaths,
  joinPath,
  parentOf,
  show,
  toBytes,
  whiteoutKind,
} from './paths.ts'
import { archiveEnd, encodeHeader, tarEntry } from './writer.ts'

/**
 * A layer's folder as the archive that unpacks to the same folder, but for
 * what times have beyond the second: whiteouts and opaque marks of overlayfs, or those that are recorded, are written as the
 * image specification has them. The same folder gives the same bytes: names are
 * in byte order, owners are numbers.
 */

export interface PackLayerTask {
  directory: string
  /** File with its WhiteoutRecord, where whiteouts are not in the directory itself. */
  record?: string
  /** The archive tells of the root directory, too. */
  hasRoot?: boolean
  /** Seconds: times later than it become it. */
  epoch?: number
}

const DEPTH = 2000
const OPAQUE_NAME = '.wh..wh..opq'

interface Marks {
  /** Names of whiteouts by the directory that they are in. */
  whiteouts: ReadonlyMap<ByteString, ByteString[]>
  opaques: ReadonlySet<ByteString>
}

const readMarks = (record: string | undefined): Marks => {
  if (record === undefined) return { whiteouts: new Map(), opaques: new Set() }
  const { whiteouts, opaques } = readWhiteouts(record)
  return { whiteouts: Map.groupBy(whiteouts, parentOf), opaques: new Set(opaques) }
}

interface Frame {
  fd: number
  /** The last one comes first. */
  names: ByteString[]
  path: ByteString
}

class LayerPacking {
  readonly #packer: Packer
  readonly #marks: Marks
  readonly #frames: Frame[] = []

  constructor({ record, epoch }: PackLayerTask) {
    const latest = epoch === undefined ? undefined : BigInt(epoch) * 1_000_000_000n
    this.#packer = new Packer({ latest, wholeSeconds: true })
    this.#marks = readMarks(record)
  }

  *run(root: number, hasRoot: boolean): Generator<Buffer> {
    try {
      if (hasRoot) yield* this.#packer.entry({ dir: root, name: '.', path: '.' })
      yield* this.#enter(root, '.', '')
      for (let frame = this.#frames.at(-1); frame; frame = this.#frames.at(-1)) {
        const name = frame.names.pop()
        if (name === undefined) closeFd((this.#frames.pop() ?? frame).fd)
        else yield* this.#visit(frame, name)
      }
      yield archiveEnd()
    } finally {
      for (const frame of this.#frames) closeFd(frame.fd)
    }
  }

  *#visit(frame: Frame, name: ByteString): Generator<Buffer> {
    const path = joinPath(frame.path, name)
    const stat = statIfThere(frame.fd, toBytes(name))
    if (!stat || isWhiteout(stat)) yield mark(joinPath(frame.path, `.wh.${name}`))
    // What has such a name in the folder has no way into an archive.
    else if (whiteoutKind(name) === 'none') {
      yield* this.#packer.entry({ dir: frame.fd, name, path })
      if ((stat.mode & S_IFMT) === S_IFDIR) yield* this.#enter(frame.fd, name, path)
    }
  }

  *#enter(dir: number, name: ByteString, path: ByteString): Generator<Buffer> {
    if (this.#frames.length > DEPTH)
      throw badRequest(`cannot archive ${show(path.slice(0, 100))}…: nested too deeply`)
    const fd = openAt(dir, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    const recorded = this.#marks.whiteouts.get(path) ?? []
    const names = [...namesOf(fd), ...recorded.map(baseOf)].sort(comparePaths).reverse()
    this.#frames.push({ fd, names, path })
    if (isOpaque(fd) || this.#marks.opaques.has(path)) yield mark(joinPath(path, OPAQUE_NAME))
  }
}

const mark = (path: ByteString): Buffer => encodeHeader(tarEntry({ name: toBytes(path) }))

/** Bytes between two looks at whether the work is to end. */
const STEP = 8 << 20

interface Control {
  /** Throws where the work is to end. */
  check(): void
  /** Takes the bytes; without it they are only hashed. */
  output?(chunks: Iterable<Buffer>): Promise<void>
}

/** The digest of the archive, which is the layer's diff id. Errors: SystemError, `cancelled`. */
export const packLayer = async (task: PackLayerTask, control: Control): Promise<Digest> => {
  using root = owned(openAt(AT_FDCWD, task.directory, O_RDONLY | O_DIRECTORY))
  const hash = createHash('sha256')
  const hashed = function* (): Generator<Buffer> {
    for (const chunk of new LayerPacking(task).run(root.fd, task.hasRoot ?? false)) {
      hash.update(chunk)
      yield chunk
    }
  }
  if (control.output) await control.output(hashed())
  else await through(hashed(), control)
  return `sha256:${hash.digest('hex')}`
}

const through = async (chunks: Iterable<Buffer>, control: Control): Promise<void> => {
  let bytes = 0
  for (const chunk of chunks) {
    bytes += chunk.length
    if (bytes < STEP) continue
    bytes = 0
    await setImmediate()
    control.check()
  }
}
