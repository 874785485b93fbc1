import { badRequest } from '../core/errors.ts'
import { readNumber } from './numbers.ts'

/** The 512-byte header block: ustar (POSIX.1-1988), GNU's and v7's variants. */

export const BLOCK = 512

export interface RawHeader {
  /** The type flag's byte. */
  flag: number
  name: Buffer
  linkName: Buffer
  mode: number
  uid: number
  gid: number
  /** Bytes stored after the header. */
  size: number
  /** Seconds since the epoch. */
  mtime: number
  userName: string
  groupName: string
  deviceMajor: number
  deviceMinor: number
  gnu: boolean
}

const fields = {
  mode: { at: 100, length: 8, name: 'mode' },
  uid: { at: 108, length: 8, name: 'uid' },
  gid: { at: 116, length: 8, name: 'gid' },
  size: { at: 124, length: 12, name: 'size' },
  mtime: { at: 136, length: 12, name: 'mtime' },
  checksum: { at: 148, length: 8, name: 'checksum' },
  deviceMajor: { at: 329, length: 8, name: 'device major' },
  deviceMinor: { at: 337, length: 8, name: 'device minor' },
} as const

export const isZeroBlock = (block: Uint8Array): boolean => {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false
  return true
}

/** Sum of all bytes with the checksum field taken as blanks. */
export const checksumOf = (block: Uint8Array): number => {
  let sum = 8 * 32
  for (let i = 0; i < 148; i++) sum += block[i] ?? 0
  for (let i = 156; i < BLOCK; i++) sum += block[i] ?? 0
  return sum
}

// Some old writers summed signed bytes.
const signedChecksumOf = (block: Uint8Array): number => {
  let sum = checksumOf(block)
  for (let i = 0; i < BLOCK; i++) if ((i < 148 || i >= 156) && (block[i] ?? 0) > 127) sum -= 256
  return sum
}

const textAt = (block: Buffer, at: number, length: number): Buffer => {
  const end = block.indexOf(0, at)
  return Buffer.from(block.subarray(at, end >= 0 && end < at + length ? end : at + length))
}

const stringAt = (block: Buffer, at: number, length: number): string =>
  block[at] === 0 ? '' : textAt(block, at, length).toString('utf8')

const verifyChecksum = (block: Buffer): void => {
  const told = readNumber(block, fields.checksum)
  if (told !== checksumOf(block) && told !== signedChecksumOf(block))
    throw badRequest('invalid tar header: wrong checksum (the archive is damaged, or is not a tar archive)')
}

const nameOf = (block: Buffer, ustar: boolean): Buffer => {
  const name = textAt(block, 0, 100)
  if (!ustar || block[345] === 0) return name
  return Buffer.concat([textAt(block, 345, 155), Buffer.from('/'), name])
}

/** Parses one block that is not all zeros. Errors: `bad-request`. */
export const parseHeader = (block: Buffer): RawHeader => {
  verifyChecksum(block)
  const magic = block.toString('latin1', 257, 265)
  const gnu = magic.startsWith('ustar ')
  const ustar = magic.startsWith('ustar\0')
  const known = gnu || ustar
  const size = readNumber(block, fields.size)
  if (size < 0) throw badRequest('invalid tar header: negative size')
  const flag = block[156] ?? 0
  const device = known && (flag === 51 || flag === 52)
  return {
    flag,
    name: nameOf(block, ustar),
    linkName: block[157] === 0 ? Buffer.alloc(0) : textAt(block, 157, 100),
    mode: readNumber(block, fields.mode) & 0o7777,
    uid: readNumber(block, fields.uid),
    gid: readNumber(block, fields.gid),
    size,
    mtime: readNumber(block, fields.mtime),
    userName: known ? stringAt(block, 265, 32) : '',
    groupName: known ? stringAt(block, 297, 32) : '',
    deviceMajor: device ? readNumber(block, fields.deviceMajor) : 0,
    deviceMinor: device ? readNumber(block, fields.deviceMinor) : 0,
    gnu,
  }
}
