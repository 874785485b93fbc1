import { badRequest } from '../core/errors.ts'
import { BLOCK, checksumOf } from './header.ts'
import { formatPaxTime } from './numbers.ts'
import { paxRecord } from './pax.ts'
import type { EntryType, TarEntry } from './types.ts'

/**
 * Tar archives written as ustar, with a PAX header before an entry that ustar
 * cannot tell. The same entry gives the same bytes.
 */

const flags: Record<EntryType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}

const MAX_ID = 0o7777777
const MAX_SIZE = 0o77777777777
const NANOS = 1_000_000_000n
const slash = 47

const isAscii = (bytes: Uint8Array): boolean => bytes.every(byte => byte > 0 && byte < 128)

const octal = (block: Buffer, at: number, length: number, value: number): void => {
  block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1')
}

/** Where ustar can cut a name into prefix (155) and name (100); -1 if nowhere, 0 if it need not. */
const cutOf = (name: Buffer): number => {
  if (name.length <= 100) return 0
  if (name.length > 256) return -1
  const at = name.indexOf(slash, name.length - 101)
  return at > 0 && at <= 155 && at < name.length - 1 ? at : -1
}

const writtenName = (entry: TarEntry): Buffer => {
  const name = Buffer.from(entry.name)
  return entry.type === 'directory' && name[name.length - 1] !== slash
    ? Buffer.concat([name, Buffer.from('/')])
    : name
}

const inRange = (value: number, most: number): boolean => value >= 0 && value <= most

/** Records that the entry needs beyond ustar, in key order. */
const recordsOf = (entry: TarEntry, name: Buffer): Buffer[] => {
  const records: [string, Uint8Array | string][] = []
  const seconds = entry.mtime / NANOS
  if (!inRange(entry.gid, MAX_ID)) records.push(['gid', String(entry.gid)])
  if (needsText(entry.groupName)) records.push(['gname', entry.groupName])
  if (entry.linkName.length > 100 || !isAscii(entry.linkName)) records.push(['linkpath', entry.linkName])
  if (entry.mtime % NANOS !== 0n || !inRange(Number(seconds), MAX_SIZE))
    records.push(['mtime', formatPaxTime(entry.mtime)])
  if (cutOf(name) < 0 || !isAscii(name)) records.push(['path', name])
  if (!inRange(storedSize(entry), MAX_SIZE)) records.push(['size', String(entry.size)])
  if (!inRange(entry.uid, MAX_ID)) records.push(['uid', String(entry.uid)])
  if (needsText(entry.userName)) records.push(['uname', entry.userName])
  for (const [key, value] of entry.xattrs) {
    if (key.includes('=') || key === '')
      throw badRequest(`cannot archive the attribute name ${JSON.stringify(key)}`)
    records.push([`SCHILY.xattr.${key}`, value])
  }
  return records.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => paxRecord(key, value))
}

const needsText = (text: string): boolean => text.length > 31 || !isAscii(Buffer.from(text))

const storedSize = (entry: TarEntry): number => (entry.type === 'file' ? entry.size : 0)

const plain = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.map(byte => (byte > 0 && byte < 128 ? byte : 95)))

const writeNames = (block: Buffer, name: Buffer, linkName: Uint8Array): void => {
  const cut = cutOf(name)
  if (cut > 0) {
    plain(name.subarray(0, cut)).copy(block, 345)
    plain(name.subarray(cut + 1)).copy(block, 0)
  } else plain(name.subarray(0, 100)).copy(block, 0)
  plain(linkName.subarray(0, 100)).copy(block, 157)
}

const clamp = (value: number, most: number): number => (inRange(value, most) ? value : 0)

const headerBlock = (entry: TarEntry, name: Buffer, flag: string): Buffer => {
  const block = Buffer.alloc(BLOCK)
  writeNames(block, name, entry.linkName)
  octal(block, 100, 8, entry.mode & 0o7777)
  octal(block, 108, 8, clamp(entry.uid, MAX_ID))
  octal(block, 116, 8, clamp(entry.gid, MAX_ID))
  octal(block, 124, 12, clamp(storedSize(entry), MAX_SIZE))
  octal(block, 136, 12, clamp(Number(entry.mtime / NANOS), MAX_SIZE))
  block.write(flag, 156, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  plain(Buffer.from(entry.userName).subarray(0, 31)).copy(block, 265)
  plain(Buffer.from(entry.groupName).subarray(0, 31)).copy(block, 297)
  octal(block, 329, 8, clamp(entry.deviceMajor, MAX_ID))
  octal(block, 337, 8, clamp(entry.deviceMinor, MAX_ID))
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

const paxEntry = (size: number): TarEntry => ({
  ...tarEntry({ name: 'PaxHeaders.0/entry' }),
  size,
  mode: 0o644,
})

/** Zeros that fill `size` bytes of content up to whole blocks. */
export const paddingAfter = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

/** The end marker. */
export const archiveEnd = (): Buffer => Buffer.alloc(2 * BLOCK)

/** The header blocks of an entry; `size` bytes of content and `paddingAfter(size)` follow. */
export const encodeHeader = (entry: TarEntry): Buffer => {
  const name = writtenName(entry)
  const block = headerBlock(entry, name, flags[entry.type])
  const records = recordsOf(entry, name)
  if (records.length === 0) return block
  const body = Buffer.concat(records)
  const pax = paxEntry(body.length)
  return Buffer.concat([headerBlock(pax, Buffer.from(pax.name), 'x'), body, paddingAfter(body.length), block])
}

/** An entry with what is not told filled in: a file of root, mode 0644 (directories 0755), time 0. */
export const tarEntry = (
  known: Partial<Omit<TarEntry, 'name' | 'linkName'>> & {
    name: Uint8Array | string
    linkName?: Uint8Array | string
  },
): TarEntry => ({
  type: 'file',
  mode: known.type === 'directory' ? 0o755 : 0o644,
  uid: 0,
  gid: 0,
  userName: '',
  groupName: '',
  size: 0,
  mtime: 0n,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
  ...known,
  name: Buffer.from(known.name as string),
  linkName: Buffer.from((known.linkName ?? '') as string),
})

export interface OutgoingMember {
  entry: TarEntry
  /** Exactly `entry.size` bytes; left out where the size is 0. */
  body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

async function* bodyBytes(member: OutgoingMember): AsyncGenerator<Uint8Array> {
  const size = storedSize(member.entry)
  let written = 0
  for await (const chunk of member.body ?? []) {
    written += chunk.length
    if (written > size) break
    yield chunk
  }
  if (written !== size)
    throw badRequest(
      `cannot archive ${JSON.stringify(Buffer.from(member.entry.name).toString())}: it was to have ${size} bytes and has ${written > size ? 'more' : written}`,
    )
  const rest = paddingAfter(size)
  if (rest.length > 0) yield rest
}

/** Writes an archive member by member; a member's body is opened when its turn comes. */
export async function* writeTar(
  members: AsyncIterable<OutgoingMember> | Iterable<OutgoingMember>,
): AsyncGenerator<Uint8Array> {
  for await (const member of members) {
    yield encodeHeader(member.entry)
    yield* bodyBytes(member)
  }
  yield archiveEnd()
}
