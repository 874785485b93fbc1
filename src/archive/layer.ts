import { createHash } from 'node:crypto'
import { createReadStream, writeFileSync } from 'node:fs'
import { discarded } from '../core/garbage.ts'
import { AT_FDCWD, filesystemOf, makeNodeAt, O_DIRECTORY, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { isDirectory, S_IFCHR, statIfThere } from '../linux/stat.ts'
import { setXattrFd } from '../linux/xattrs.ts'
import type { Digest } from '../oci/digest.ts'
import { arrivedDigest, followFile } from './arrival.ts'
import { Budget, type UnpackLimits } from './budget.ts'
import { decompress } from './compression.ts'
import type { Directories } from './directories.ts'
import { Extractor, type ExtractRules } from './extractor.ts'
import { measureTree } from './measure.ts'
import { OPAQUE, type WhiteoutRecord } from './merged.ts'
import { TarParser } from './parser.ts'
import { type ByteString, baseOf, comparePaths, joinPath, parentOf, toBytes, whiteoutKind } from './paths.ts'
import type { Compression, TarEntry } from './types.ts'

/** Unpacking a layer blob into a directory that overlayfs takes as a lower layer. */

export interface LayerTask {
  /** The blob's file and size. */
  blob: string
  blobSize: number
  /** An empty directory. */
  directory: string
  /** Where whiteouts go: into the directory as overlayfs's own, or into this file as a WhiteoutRecord. */
  record?: string
  limits?: Partial<UnpackLimits>
  /** The blob's digest, where it is known to be right: it is the diff id too if the blob is not compressed. */
  digest?: Digest
  /** The file is still being written: an `Arrival`'s shared memory. */
  arrival?: SharedArrayBuffer
}

export interface RootMetadata {
  mode: number
  uid: number
  gid: number
}

export interface LayerResult {
  /** Digest of the uncompressed archive. */
  diffId: Digest
  size: number
  diskBytes: number
  entries: number
  /** Hard links whose targets are not in the layer: path and target, in the archive's order. */
  links: [ByteString, ByteString][]
  /** Directories that no entry told of: their metadata is that of the layers below. */
  implied: ByteString[]
  /** From the archive's entry for the root, if it has one. */
  root?: RootMetadata
  /** The layer hides everything below it. */
  opaqueRoot: boolean
}

export interface TaskControl {
  /** Throws where the task is to end. */
  check(): void
  progress(bytes: number): void
  /** Waited for between two chunks, where the work is to be in nobody's way. */
  rest?(): Promise<void>
}

/** What a layer's names mean, gathered while it is unpacked and applied at its end, so that order does not matter. */
export class LayerRules implements ExtractRules {
  readonly whiteouts = new Set<ByteString>()
  readonly opaques = new Set<ByteString>()
  readonly links = new Map<ByteString, ByteString>()
  readonly impliedPaths = new Set<ByteString>()
  root: RootMetadata | undefined

  skip(entry: TarEntry, path: ByteString): boolean {
    if (path === '') {
      if (entry.type === 'directory') this.root = { mode: entry.mode, uid: entry.uid, gid: entry.gid }
      return false
    }
    if (path.startsWith('.wh..wh.') || path.includes('/.wh..wh.')) {
      if (whiteoutKind(baseOf(path)) === 'opaque') this.opaques.add(parentOf(path))
      return true
    }
    const kind = whiteoutKind(baseOf(path))
    if (kind === 'whiteout') this.whiteouts.add(joinPath(parentOf(path), baseOf(path).slice(4)))
    // Overlayfs takes such a device for its own whiteout, so it is one.
    else if (entry.type === 'char' && entry.deviceMajor === 0 && entry.deviceMinor === 0)
      this.whiteouts.add(path)
    else return false
    return true
  }

  implied(path: ByteString): void {
    this.impliedPaths.add(path)
  }

  missing(_entry: TarEntry, path: ByteString, target: ByteString): boolean {
    this.links.set(path, target)
    return true
  }

  placed(path: ByteString): void {
    this.links.delete(path)
    this.impliedPaths.delete(path)
  }
}

interface Marks {
  whiteouts: ByteString[]
  opaques: ByteString[]
}

/** Whiteouts beside what the layer itself has: of a new directory it makes an opaque one, of a new file nothing. */
const decideMarks = (rules: LayerRules, directories: Directories): Marks => {
  const marks: Marks = { whiteouts: [], opaques: [...rules.opaques] }
  for (const path of rules.opaques) directories.make(path)
  // Deepest first: a whiteout within a directory makes that directory, which then is opaque.
  for (const path of [...rules.whiteouts].sort(comparePaths).reverse()) {
    // A hard link that is yet to come takes this name.
    if (rules.links.has(path)) continue
    const stat = statIfThere(directories.make(parentOf(path)), toBytes(baseOf(path)))
    if (!stat) marks.whiteouts.push(path)
    else if (isDirectory(stat)) marks.opaques.push(path)
  }
  return marks
}

const writeMarks = (marks: Marks, directories: Directories): void => {
  for (const path of marks.whiteouts)
    makeNodeAt({ dir: directories.make(parentOf(path)), name: toBytes(baseOf(path)) }, S_IFCHR, 0n)
  for (const path of marks.opaques) setXattrFd(directories.make(path), OPAQUE, Buffer.from('y'))
}

const saveMarks = (marks: Marks, file: string): void => {
  const record: WhiteoutRecord = { whiteouts: marks.whiteouts, opaques: marks.opaques }
  writeFileSync(file, JSON.stringify(record))
}

interface Digester {
  update(chunk: Buffer): void
  digest(): Digest
}

/** Where the blob's own digest serves, nothing is computed. */
const digesterOf = (
  { digest, arrival }: Pick<LayerTask, 'digest' | 'arrival'>,
  compression: Compression,
): Digester => {
  if (compression === 'none' && digest) return { update: () => {}, digest: () => digest }
  if (compression === 'none' && arrival) return { update: () => {}, digest: () => arrivedDigest(arrival) }
  const hash = createHash('sha256')
  return { update: chunk => hash.update(chunk), digest: () => `sha256:${hash.digest('hex')}` }
}

const MARK_EVERY = 1 << 20

/** The blob's uncompressed bytes through digest and parser. */
export const feed = async (
  task: Pick<LayerTask, 'blob' | 'blobSize' | 'digest' | 'arrival'>,
  parser: TarParser,
  budget: Budget,
  control: TaskControl,
): Promise<Digest> => {
  let packed = 0
  let told = 0
  let plain = 0
  const source = task.arrival
    ? followFile(task.blob, task.arrival)
    : createReadStream(task.blob, { highWaterMark: MARK_EVERY })
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      packed += chunk.length
      if (packed - told >= MARK_EVERY || packed === task.blobSize) {
        told = packed
        control.progress(packed)
      }
      yield chunk
      discarded(chunk.length)
    }
  }
  const { stream, compression } = await decompress(counted(), { size: task.blobSize })
  const digester = digesterOf(task, compression)
  for await (const chunk of stream) {
    control.check()
    plain += chunk.length
    budget.expanded(plain, packed)
    digester.update(chunk)
    parser.write(chunk)
    if (compression !== 'none') discarded(chunk.length)
    if (control.rest) await control.rest()
  }
  parser.end()
  return digester.digest()
}

// Filesystems that give files whole blocks by their size; others are asked.
const plainBlocks = new Set([0xef53, 0x58465342])

/** Unpacks one layer. What it made so far is left behind where it throws: the caller owns the directory. */
export const unpackLayer = async (task: LayerTask, control: TaskControl): Promise<LayerResult> => {
  using root = owned(openAt(AT_FDCWD, task.directory, O_RDONLY | O_DIRECTORY))
  const budget = new Budget(root.fd, task.limits)
  const rules = new LayerRules()
  using extractor = new Extractor(root.fd, budget, { fresh: true, rootMetadata: true, rules })
  const diffId = await feed(task, new TarParser(extractor), budget, control)
  const marks = decideMarks(rules, extractor.directories)
  if (task.record === undefined) writeMarks(marks, extractor.directories)
  else saveMarks(marks, task.record)
  extractor.finish()
  return { ...sizesOf(root.fd, extractor, rules), diffId, ...tellings(rules, marks) }
}

const sizesOf = (
  root: number,
  extractor: Extractor,
  rules: LayerRules,
): Pick<LayerResult, 'size' | 'diskBytes' | 'entries'> => {
  const { size, diskBytes, replaced, entries } = extractor.totals
  if (replaced || rules.impliedPaths.size > 0 || !plainBlocks.has(filesystemOf(root).type))
    return measureTree(root)
  return { size, diskBytes, entries }
}

const tellings = (
  rules: LayerRules,
  marks: Marks,
): Pick<LayerResult, 'links' | 'implied' | 'root' | 'opaqueRoot'> => ({
  links: [...rules.links],
  implied: [...rules.impliedPaths],
  ...(rules.root ? { root: rules.root } : {}),
  opaqueRoot: marks.opaques.includes(''),
})
