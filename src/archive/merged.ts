import { readdirSync, readFileSync } from 'node:fs'
import { AT_FDCWD, closeFd, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt } from '../linux/files.ts'
import { type FileStat, isDirectory, isWhiteout, statIfThere } from '../linux/stat.ts'
import { getXattrFd } from '../linux/xattrs.ts'
import { type ByteString, joinPath, toByteString, toBytes } from './paths.ts'

/** A stack of layers seen as overlayfs would merge it, without mounting it. */

export const OPAQUE = 'trusted.overlay.opaque'

/** Whiteouts of a layer on a filesystem that cannot hold overlayfs's own: byte strings of paths. */
export interface WhiteoutRecord {
  whiteouts: ByteString[]
  opaques: ByteString[]
}

export interface StackLayer {
  /** The layer's directory. */
  path: string
  /** File with its WhiteoutRecord, where whiteouts are not in the directory itself. */
  record?: string
}

interface Source {
  fd: number
  whiteouts: ReadonlySet<ByteString>
  opaques: ReadonlySet<ByteString>
}

const none: ReadonlySet<ByteString> = new Set()

export const isOpaque = (fd: number): boolean => getXattrFd(fd, OPAQUE)?.toString() === 'y'

/** An entry of the merged view. */
export interface MergedEntry {
  stat: FileStat
  /** The directory, in the layer that decides, which holds the entry. */
  dir: number
}

/** One directory of the merged view; owns its descriptors. */
export class MergedDirectory implements Disposable {
  readonly path: ByteString
  /** Contributing directories, the top layer's first. */
  readonly #sources: readonly Source[]

  constructor(path: ByteString, sources: readonly Source[]) {
    this.path = path
    this.#sources = sources
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) closeFd(source.fd)
  }

  /** Descriptors that it holds. */
  get width(): number {
    return this.#sources.length
  }

  /** The directory itself, in the layer that decides. */
  get top(): number | undefined {
    return this.#sources[0]?.fd
  }

  lookUp(name: ByteString): MergedEntry | undefined {
    for (const source of this.#sources) {
      if (source.whiteouts.has(joinPath(this.path, name))) return undefined
      const stat = statIfThere(source.fd, toBytes(name))
      if (stat) return isWhiteout(stat) ? undefined : { stat, dir: source.fd }
    }
    return undefined
  }

  /** The directory of that name; undefined if there is none. The caller owns it. */
  enter(name: ByteString): MergedDirectory | undefined {
    const path = joinPath(this.path, name)
    const sources: Source[] = []
    for (const source of this.#sources) {
      const stat = source.whiteouts.has(path) ? undefined : statIfThere(source.fd, toBytes(name))
      if (!stat && !source.whiteouts.has(path)) continue
      if (!stat || !isDirectory(stat)) break
      const fd = openAt(source.fd, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      sources.push({ ...source, fd })
      if (source.opaques.has(path) || isOpaque(fd)) break
    }
    return sources.length > 0 ? new MergedDirectory(path, sources) : undefined
  }

  /** Names in the merged directory, in no order. */
  names(): ByteString[] {
    const seen = new Map<ByteString, boolean>()
    for (const source of this.#sources) {
      const here = namesAndWhiteouts(source.fd)
      for (const path of source.whiteouts)
        if (path.startsWith(this.path === '' ? '' : `${this.path}/`))
          here.push([lastOf(path, this.path), false])
      for (const [name, there] of here) if (!seen.has(name)) seen.set(name, there)
    }
    return [...seen].flatMap(([name, there]) => (there ? [name] : []))
  }
}

const lastOf = (path: ByteString, parent: ByteString): ByteString =>
  parent === '' ? path : path.slice(parent.length + 1)

const isWhiteoutAt = (fd: number, name: ByteString): boolean => {
  const stat = statIfThere(fd, toBytes(name))
  return stat === undefined || isWhiteout(stat)
}

/** Names in an open directory, as byte strings. */
export const namesOf = (fd: number): ByteString[] =>
  readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' }).map(toByteString)

/** Names, and whether something of this name is there. Only of devices the kernel is asked. */
const namesAndWhiteouts = (fd: number): [ByteString, boolean][] =>
  readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer', withFileTypes: true }).map(entry => {
    const name = toByteString(entry.name)
    return [name, !(entry.isCharacterDevice() && isWhiteoutAt(fd, name))]
  })

export const readWhiteouts = (path: string): WhiteoutRecord => JSON.parse(readFileSync(path, 'utf8'))

const readRecord = (path: string): Pick<Source, 'whiteouts' | 'opaques'> => {
  const record = readWhiteouts(path)
  return { whiteouts: new Set(record.whiteouts), opaques: new Set(record.opaques) }
}

/** The root of a stack, given bottom first. The caller owns it. */
export const mergedRoot = (layers: readonly StackLayer[]): MergedDirectory => {
  const sources: Source[] = []
  try {
    for (const layer of layers.toReversed()) {
      const marks = layer.record === undefined ? { whiteouts: none, opaques: none } : readRecord(layer.record)
      sources.push({ fd: openAt(AT_FDCWD, layer.path, O_RDONLY | O_DIRECTORY), ...marks })
      if (marks.opaques.has('')) break
    }
  } catch (error) {
    for (const source of sources) closeFd(source.fd)
    throw error
  }
  return new MergedDirectory('', sources)
}

/** Calls `use` with a path's entry in the stack; symlinks on the way are not followed. */
export const withMerged = <T>(
  root: MergedDirectory,
  path: ByteString,
  use: (entry: MergedEntry | undefined) => T,
): T => {
  const cut = path.indexOf('/')
  if (cut < 0) return use(root.lookUp(path))
  using child = root.enter(path.slice(0, cut))
  return child ? withMerged(child, path.slice(cut + 1), use) : use(undefined)
}
