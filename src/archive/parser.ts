import { badRequest } from '../core/errors.ts'
import { buildEntry, type Extensions, entryType, nameOf, storedSize } from './entry.ts'
import { BLOCK, isZeroBlock, parseHeader, type RawHeader } from './header.ts'
import { parseCount } from './numbers.ts'
import { type PaxRecords, parsePax } from './pax.ts'
import {
  ContentMap,
  checkedSparse,
  type Extent,
  extendOldGnuMap,
  type OldGnuMap,
  oldGnuMap,
  paxMap,
} from './sparse.ts'
import type { EntryType, TarEntry } from './types.ts'

/** What a parser tells, in the archive's order, synchronously from within `write`. */
export interface TarHandler {
  entry(entry: TarEntry): void
  /** Content at an offset of the expanded file; between chunks there may be holes. Valid during the call only. */
  data(chunk: Buffer, offset: number): void
  /** The current entry's content is complete. */
  close(): void
}

/** Longest extension header, as other readers limit it. */
const META_LIMIT = 1 << 20

const DUMP_DIRECTORY = 68

const metaFlags = new Set(['x', 'g', 'X', 'L', 'K'])

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK

/**
 * A tar parser that is fed chunks. Memory: one block, plus extension headers
 * of at most 1 MiB each. Errors: `bad-request`; after one the parser is dead.
 */
export class TarParser {
  readonly #handler: TarHandler
  readonly #partial = Buffer.alloc(BLOCK)
  #have = 0
  /** Takes the next block while no body is being read. */
  #onBlock: (block: Buffer) => void = block => this.#header(block)
  #bodyLeft = 0
  #padLeft = 0
  /** Where body bytes go: the open entry, an extension header, or nowhere. */
  #body: 'entry' | 'meta' | 'skip' = 'skip'
  #meta: { flag: string; parts: Buffer[] } | undefined
  #extensions: Extensions = freshExtensions(new Map())
  #globalBytes = 0
  #extents: Extent[] | undefined
  #extent = 0
  #offset = 0
  #open = false
  #ended = false

  constructor(handler: TarHandler) {
    this.#handler = handler
  }

  /** True when the end marker was seen; what follows it is ignored. */
  get ended(): boolean {
    return this.#ended
  }

  write(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#ended) {
      if (this.#bodyLeft > 0) at = this.#takeBody(chunk, at)
      else if (this.#padLeft > 0) at = this.#takePadding(chunk, at)
      else at = this.#takeBlock(chunk, at)
    }
  }

  /** No more input. Errors: `bad-request` for an archive that was cut off. */
  end(): void {
    if (this.#ended) return
    // As Go's reader: some writers leave out the last file's padding, and the end marker with it.
    if (this.#body === 'entry' && this.#bodyLeft === 0 && this.#padLeft > 0) {
      this.#padLeft = 0
      this.#finishBody()
    }
    const loose = this.#extensions.local.size > 0 || this.#extensions.longName || this.#extensions.longLink
    if (this.#open || this.#have > 0 || this.#bodyLeft > 0 || this.#padLeft > 0 || this.#meta || loose)
      throw badRequest('the tar archive is cut off: it ends within an entry')
    this.#ended = true
  }

  #takeBlock(chunk: Buffer, at: number): number {
    if (this.#have === 0 && chunk.length - at >= BLOCK) {
      this.#onBlock(chunk.subarray(at, at + BLOCK))
      return at + BLOCK
    }
    const count = Math.min(BLOCK - this.#have, chunk.length - at)
    chunk.copy(this.#partial, this.#have, at, at + count)
    this.#have += count
    if (this.#have === BLOCK) {
      this.#have = 0
      this.#onBlock(this.#partial)
    }
    return at + count
  }

  #takePadding(chunk: Buffer, at: number): number {
    const count = Math.min(this.#padLeft, chunk.length - at)
    this.#padLeft -= count
    if (this.#padLeft === 0) this.#finishBody()
    return at + count
  }

  #takeBody(chunk: Buffer, at: number): number {
    const count = Math.min(this.#bodyLeft, chunk.length - at)
    const bytes = chunk.subarray(at, at + count)
    this.#bodyLeft -= count
    if (this.#body === 'entry') this.#content(bytes)
    else if (this.#body === 'meta') this.#meta?.parts.push(Buffer.from(bytes))
    if (this.#bodyLeft === 0 && this.#padLeft === 0) this.#finishBody()
    return at + count
  }

  #content(bytes: Buffer): void {
    if (!this.#extents) {
      this.#handler.data(bytes, this.#offset)
      this.#offset += bytes.length
      return
    }
    for (let at = 0; at < bytes.length; ) {
      const extent = this.#extents[this.#extent]
      if (!extent) throw badRequest('invalid sparse file in tar archive: more content than the map tells')
      const count = Math.min(bytes.length - at, extent.length - this.#offset)
      this.#handler.data(bytes.subarray(at, at + count), extent.offset + this.#offset)
      at += count
      this.#offset += count
      if (this.#offset === extent.length) {
        this.#extent++
        this.#offset = 0
      }
    }
  }

  #finishBody(): void {
    if (this.#body === 'entry') this.#closeEntry()
    else if (this.#body === 'meta') this.#takeMeta()
    else this.#onBlock = this.#header
  }

  #closeEntry(): void {
    this.#open = false
    this.#body = 'skip'
    this.#extents = undefined
    this.#onBlock = this.#header
    this.#handler.close()
  }

  #startBody(body: 'entry' | 'meta' | 'skip', size: number): void {
    this.#body = body
    this.#bodyLeft = size
    this.#padLeft = padding(size)
    if (size === 0) this.#finishBody()
  }

  #header = (block: Buffer): void => {
    if (block[0] === 0 && isZeroBlock(block)) {
      this.#onBlock = this.#afterZeroBlock
      return
    }
    const header = parseHeader(block)
    const flag = String.fromCharCode(header.flag)
    if (metaFlags.has(flag)) this.#startMeta(flag, header.size)
    else this.#startEntry(header, block)
  }

  // One block of zeros ends the archive for every known reader when another follows; alone it is passed over.
  #afterZeroBlock = (block: Buffer): void => {
    this.#onBlock = this.#header
    if (isZeroBlock(block)) this.#ended = true
    else this.#header(block)
  }

  #startMeta(flag: string, size: number): void {
    if (size > META_LIMIT) throw badRequest(`invalid tar archive: extension header of ${size} bytes`)
    this.#meta = { flag, parts: [] }
    this.#startBody('meta', size)
  }

  #takeMeta(): void {
    const meta = this.#meta
    this.#meta = undefined
    this.#onBlock = this.#header
    if (!meta) return
    const bytes = Buffer.concat(meta.parts)
    const extensions = this.#extensions
    if (meta.flag === 'L') extensions.longName = untilZero(bytes)
    else if (meta.flag === 'K') extensions.longLink = untilZero(bytes)
    else if (meta.flag === 'g') this.#takeGlobal(bytes)
    else parsePax(bytes, extensions.local)
  }

  #takeGlobal(bytes: Buffer): void {
    this.#globalBytes += bytes.length
    if (this.#globalBytes > META_LIMIT) throw badRequest('invalid tar archive: too many global headers')
    parsePax(bytes, this.#extensions.global)
  }

  #startEntry(header: RawHeader, block: Buffer): void {
    const extensions = this.#extensions
    this.#extensions = freshExtensions(extensions.global)
    const type = entryType(header, nameOf(header, extensions))
    if (type) this.#startKnown(type, header, extensions, block)
    else this.#startBody('skip', header.size)
  }

  #startKnown(type: EntryType, header: RawHeader, extensions: Extensions, block: Buffer): void {
    const entry = buildEntry(header, extensions, type)
    const stored = storedSize(header, extensions)
    const sparse = type === 'file' ? sparseKind(header, extensions.local) : undefined
    if (sparse) this.#startSparse(sparse, { entry, stored, block, records: extensions.local })
    else if (type === 'file') this.#emit(entry, stored, undefined)
    else this.#emitBare(entry, header.flag === DUMP_DIRECTORY ? stored : 0)
  }

  /** Of the types without content only GNU's directory listing has a size that counts: it is passed over. */
  #emitBare(entry: TarEntry, ignored: number): void {
    this.#handler.entry(entry)
    this.#handler.close()
    this.#startBody('skip', ignored)
  }

  #emit(entry: TarEntry, stored: number, sparse: { extents: Extent[]; size: number } | undefined): void {
    entry.size = sparse ? sparse.size : stored
    if (sparse) entry.sparse = true
    this.#extents = sparse?.extents
    this.#extent = 0
    this.#offset = 0
    this.#open = true
    this.#handler.entry(entry)
    this.#startBody('entry', stored)
  }

  #startSparse(kind: SparseKind, found: SparseEntry): void {
    const { entry, stored, records } = found
    this.#open = true
    if (kind === 'old') this.#oldSparse(oldGnuMap(found.block), entry, stored)
    else if (kind === 'content') this.#contentSparse(found)
    else this.#emit(entry, stored, checkedSparse(paxMap(records) ?? [], realSize(records), stored))
  }

  #contentSparse({ entry, stored, records }: SparseEntry): void {
    const map = new ContentMap()
    let left = stored
    this.#onBlock = block => {
      left -= BLOCK
      if (left < 0) throw badRequest('invalid sparse file in tar archive: the map is longer than the content')
      const extents = map.push(block)
      if (extents) this.#emit(entry, left, checkedSparse(extents, realSize(records), left))
    }
  }

  #oldSparse(map: OldGnuMap, entry: TarEntry, stored: number): void {
    if (map.extended)
      this.#onBlock = block => {
        extendOldGnuMap(map, block)
        this.#oldSparse(map, entry, stored)
      }
    else this.#emit(entry, stored, checkedSparse(map.extents, map.size, stored))
  }
}

type SparseKind = 'old' | 'records' | 'content'

interface SparseEntry {
  entry: TarEntry
  stored: number
  block: Buffer
  records: PaxRecords
}

const sparseKind = (header: RawHeader, records: PaxRecords): SparseKind | undefined => {
  if (header.flag === 83) return 'old'
  if (records.size === 0) return undefined
  if (records.get('GNU.sparse.major')?.toString() === '1') return 'content'
  return records.has('GNU.sparse.map') || records.has('GNU.sparse.gathered') ? 'records' : undefined
}

const realSize = (records: PaxRecords): number => {
  const text = records.get('GNU.sparse.realsize') ?? records.get('GNU.sparse.size')
  if (!text) throw badRequest('invalid sparse file in tar archive: its size is not told')
  return parseCount(text.toString('latin1'), 'GNU.sparse.size')
}

const freshExtensions = (global: PaxRecords): Extensions => ({
  local: new Map(),
  global,
  longName: undefined,
  longLink: undefined,
})

const untilZero = (bytes: Buffer): Buffer => {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}
