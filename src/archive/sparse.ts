import { badRequest } from '../core/errors.ts'
import { BLOCK, isZeroBlock } from './header.ts'
import { parseCount, readNumber } from './numbers.ts'
import type { PaxRecords } from './pax.ts'

/** A stretch of real bytes in a sparse file; everything else is a hole. */
export interface Extent {
  offset: number
  length: number
}

export interface SparseFile {
  extents: Extent[]
  /** Size of the expanded file. */
  size: number
}

/** Bytes that a sparse map may take; GNU tar's own maps are far smaller. */
export const MAP_LIMIT = 1 << 20

const bad = (why: string): Error => badRequest(`invalid sparse file in tar archive: ${why}`)

/** Checks that extents rise, do not overlap, lie within the file and hold `stored` bytes. */
export const checkedSparse = (extents: Extent[], size: number, stored: number): SparseFile => {
  let end = 0
  let sum = 0
  for (const extent of extents) {
    if (extent.offset < end) throw bad('extents overlap or fall')
    end = extent.offset + extent.length
    sum += extent.length
    if (!Number.isSafeInteger(end) || end > size) throw bad('an extent lies past the end of the file')
  }
  if (sum !== stored) throw bad(`the map tells of ${sum} bytes, the archive holds ${stored}`)
  return { extents: extents.filter(extent => extent.length > 0), size }
}

/** 24-byte entries of the old GNU format, `count` of them; an empty one ends the list. */
const oldEntries = (block: Buffer, at: number, count: number): Extent[] => {
  const found: Extent[] = []
  for (let i = 0; i < count; i++) {
    const start = at + i * 24
    if (block[start] === 0) break
    found.push({
      offset: readNumber(block, { at: start, length: 12, name: 'sparse offset' }),
      length: readNumber(block, { at: start + 12, length: 12, name: 'sparse length' }),
    })
  }
  if (found.some(extent => extent.offset < 0 || extent.length < 0)) throw bad('negative extent')
  return found
}

export interface OldGnuMap {
  extents: Extent[]
  size: number
  /** Another extension block follows. */
  extended: boolean
}

/** The map inside an old GNU header (type `S`). */
export const oldGnuMap = (block: Buffer): OldGnuMap => ({
  extents: oldEntries(block, 386, 4),
  extended: block[482] !== 0,
  size: readNumber(block, { at: 483, length: 12, name: 'sparse size' }),
})

/** An extension block: 21 more entries; returns whether yet another follows. */
export const extendOldGnuMap = (map: OldGnuMap, block: Buffer): void => {
  if (map.extents.length * 24 > MAP_LIMIT) throw bad('too many extents')
  if (isZeroBlock(block)) throw bad('empty extension')
  map.extents.push(...oldEntries(block, 0, 21))
  map.extended = block[504] !== 0
}

const pairs = (numbers: string[]): Extent[] => {
  if (numbers.length % 2 !== 0) throw bad('odd number of values')
  const found: Extent[] = []
  for (let i = 0; i < numbers.length; i += 2)
    found.push({
      offset: parseCount(numbers[i] ?? '', 'GNU.sparse offset'),
      length: parseCount(numbers[i + 1] ?? '', 'GNU.sparse length'),
    })
  return found
}

/** Versions 0.0 and 0.1 keep the map in PAX records; undefined if there is none. */
export const paxMap = (records: PaxRecords): Extent[] | undefined => {
  const map = records.get('GNU.sparse.map') ?? records.get('GNU.sparse.gathered')
  if (!map) return undefined
  const text = map.toString('latin1')
  return text === '' ? [] : pairs(text.split(','))
}

/** Version 1.0 keeps the map in front of the content, in decimal lines padded to whole blocks. */
export class ContentMap {
  readonly #numbers: string[] = []
  #rest = ''
  #consumed = 0

  /** Takes one block; returns the extents when the map is whole. Errors: `bad-request`. */
  push(block: Buffer): Extent[] | undefined {
    this.#consumed += BLOCK
    if (this.#consumed > MAP_LIMIT) throw bad('the map is too long')
    const lines = (this.#rest + block.toString('latin1')).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      this.#numbers.push(line)
      const wanted = parseCount(this.#numbers[0] ?? '', 'GNU.sparse count') * 2 + 1
      if (this.#numbers.length === wanted) return pairs(this.#numbers.slice(1))
    }
    if (this.#rest.length > 32) throw bad('the map is not decimal')
    return undefined
  }
}
