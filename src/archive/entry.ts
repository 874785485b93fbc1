import { badRequest } from '../core/errors.ts'
import type { RawHeader } from './header.ts'
import { parseCount, parsePaxTime } from './numbers.ts'
import { type PaxRecords, xattrsOf } from './pax.ts'
import type { EntryType, TarEntry } from './types.ts'

/** Joins a header with the extension headers before it into one entry. */

const types: Record<string, EntryType> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  D: 'directory',
  '6': 'fifo',
}

/** Extensions gathered for the next entry. */
export interface Extensions {
  local: PaxRecords
  global: PaxRecords
  longName: Buffer | undefined
  longLink: Buffer | undefined
}

const slash = 47

const withoutSlashes = (name: Buffer): Buffer => {
  let end = name.length
  while (end > 1 && name[end - 1] === slash) end--
  return end === name.length ? name : name.subarray(0, end)
}

const checkedName = (name: Buffer, what: string): Buffer => {
  if (name.includes(0)) throw badRequest(`invalid tar entry: ${what} contains a zero byte`)
  return name
}

const checkedId = (id: number, what: string): number => {
  if (id < 0 || id > 0xffff_fffe) throw badRequest(`invalid tar entry: ${what} ${id} is out of range`)
  return id
}

const lookUp = (extensions: Extensions, key: string): Buffer | undefined => {
  const value = extensions.local.get(key) ?? extensions.global.get(key)
  return value && value.length > 0 ? value : undefined
}

const textOf = (extensions: Extensions, key: string): string | undefined =>
  lookUp(extensions, key)?.toString('utf8')

/** The entry's type, or undefined for one that no reader has to know. */
export const entryType = (header: RawHeader, name: Buffer): EntryType | undefined => {
  const flag = String.fromCharCode(header.flag)
  if (flag === 'V' || flag === 'A') return undefined
  const type = types[flag]
  if (!type)
    throw badRequest(
      `unsupported tar entry type ${JSON.stringify(flag)} of ${JSON.stringify(name.toString())}`,
    )
  return type === 'file' && name[name.length - 1] === slash ? 'directory' : type
}

export const nameOf = (header: RawHeader, extensions: Extensions): Buffer =>
  lookUp(extensions, 'GNU.sparse.name') ?? lookUp(extensions, 'path') ?? extensions.longName ?? header.name

/** Bytes stored after the header, where a PAX record knows better than the header. */
export const storedSize = (header: RawHeader, extensions: Extensions): number => {
  const text = textOf(extensions, 'size')
  return text === undefined ? header.size : parseCount(text, 'size')
}

const numberOf = (extensions: Extensions, key: string, otherwise: number): number => {
  const text = textOf(extensions, key)
  return text === undefined ? otherwise : parseCount(text, key)
}

const timeOf = (extensions: Extensions, otherwise: number): bigint => {
  const text = textOf(extensions, 'mtime')
  return text === undefined ? BigInt(otherwise) * 1_000_000_000n : parsePaxTime(text, 'mtime')
}

const plainEntry = (header: RawHeader, name: Buffer, linkName: Buffer): TarEntry => ({
  type: 'file',
  name,
  linkName,
  mode: header.mode,
  uid: header.uid,
  gid: header.gid,
  userName: header.userName,
  groupName: header.groupName,
  size: 0,
  mtime: BigInt(header.mtime) * 1_000_000_000n,
  deviceMajor: header.deviceMajor,
  deviceMinor: header.deviceMinor,
  xattrs: new Map(),
})

const applyRecords = (entry: TarEntry, header: RawHeader, extensions: Extensions): void => {
  entry.uid = numberOf(extensions, 'uid', header.uid)
  entry.gid = numberOf(extensions, 'gid', header.gid)
  entry.userName = textOf(extensions, 'uname') ?? header.userName
  entry.groupName = textOf(extensions, 'gname') ?? header.groupName
  entry.mtime = timeOf(extensions, header.mtime)
  const both = extensions.global.size
    ? new Map([...extensions.global, ...extensions.local])
    : extensions.local
  entry.xattrs = xattrsOf(both)
}

/** The entry; `size` is left to the caller, who knows about sparse maps. Errors: `bad-request`. */
export const buildEntry = (header: RawHeader, extensions: Extensions, type: EntryType): TarEntry => {
  const linked = type === 'link' || type === 'symlink'
  const linkName = linked
    ? (lookUp(extensions, 'linkpath') ?? extensions.longLink ?? header.linkName)
    : header.linkName
  const name = withoutSlashes(checkedName(nameOf(header, extensions), 'the name'))
  const entry = plainEntry(header, name, linked ? checkedName(linkName, 'the link target') : empty)
  entry.type = type
  if (extensions.local.size > 0 || extensions.global.size > 0) applyRecords(entry, header, extensions)
  checkedId(entry.uid, 'uid')
  checkedId(entry.gid, 'gid')
  return entry
}
const empty = Buffer.alloc(0)
