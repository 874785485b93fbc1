import { readLinkAt } from '../linux/files.ts'
import {
  type FileStat,
  isDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  statIfThere,
} from '../linux/stat.ts'
import { getXattr, pathAt, xattrNames } from '../linux/xattrs.ts'
import { sameContent } from './compareContent.ts'
import type { RootMetadata } from './layer.ts'
import type { MergedEntry } from './merged.ts'
import { mayRestore } from './metadata.ts'
import { type ByteString, show } from './paths.ts'
import type { TarEntry } from './types.ts'

/** How what is at a place differs from what an archive tells, in words. Times are left out: file systems round them. */

/** A name in the tree; without `dir` its directory is not there. */
export interface Place {
  path: ByteString
  dir: number | undefined
  name: Buffer
}

export const missing = 'is missing'

const types = {
  file: S_IFREG,
  symlink: S_IFLNK,
  char: S_IFCHR,
  block: S_IFBLK,
  directory: S_IFDIR,
  fifo: S_IFIFO,
  link: S_IFREG,
} as const

const typeNames: Record<number, string> = {
  [S_IFREG]: 'a file',
  [S_IFLNK]: 'a symbolic link',
  [S_IFCHR]: 'a character device',
  [S_IFBLK]: 'a block device',
  [S_IFDIR]: 'a directory',
  [S_IFIFO]: 'a pipe',
}

const typeName = (type: number): string => typeNames[type] ?? 'something else'

const octal = (mode: number): string => mode.toString(8).padStart(4, '0')

const ownerProblems = (
  stat: FileStat,
  wanted: { mode: number; uid: number; gid: number },
  bits: number,
): string[] => [
  ...((stat.mode & bits) === (wanted.mode & bits)
    ? []
    : [`has the mode ${octal(stat.mode & 0o7777)} in place of ${octal(wanted.mode & 0o7777)}`]),
  ...(stat.uid === wanted.uid && stat.gid === wanted.gid
    ? []
    : [`belongs to ${stat.uid}:${stat.gid} in place of ${wanted.uid}:${wanted.gid}`]),
]

/** Bits of the mode that come out as the archive has them. */
const modeBits = ({ type, xattrs }: TarEntry): number => {
  if (type === 'symlink') return 0
  // An access list takes the place of the group's bits.
  const group = xattrs.has('system.posix_acl_access') ? 0o070 : 0
  return (type === 'file' || type === 'directory' ? 0o7777 : 0o777) & ~group
}

const capability = 'security.capability'

/** Attributes that somebody set by hand or took away; file systems, security modules and access lists have more. */
const isTold = (name: string): boolean =>
  name === capability || (/^(user|trusted)\./.test(name) && mayRestore(name))

const xattrProblems = ({ xattrs }: TarEntry, path: Buffer): string[] => {
  const here = new Set(xattrNames(path))
  const wrong = [...xattrs].filter(([name, value]) => {
    // Others may have been refused by the file system when the layer was unpacked.
    if (!mayRestore(name) || !(here.has(name) || isTold(name))) return false
    return !getXattr(path, name)?.equals(value)
  })
  return [
    ...wrong.map(([name]) => `has another attribute ${name}`),
    ...[...here].filter(name => isTold(name) && !xattrs.has(name)).map(name => `has an attribute ${name}`),
  ]
}

const kindProblems = (entry: TarEntry, stat: FileStat, at: { dir: number; name: Buffer }): string[] => {
  if (entry.type === 'file' && stat.size !== entry.size)
    return [`has ${stat.size} bytes in place of ${entry.size}`]
  if (entry.type === 'symlink') {
    const target = readLinkAt(at.dir, at.name)
    return target.equals(entry.linkName)
      ? []
      : [`leads to ${show(target)} in place of ${show(entry.linkName)}`]
  }
  if (entry.type !== 'char' && entry.type !== 'block') return []
  const same = stat.rdevMajor === entry.deviceMajor && stat.rdevMinor === entry.deviceMinor
  return same ? [] : [`is the device ${stat.rdevMajor}:${stat.rdevMinor}`]
}

/** All but a file's content. */
export const entryProblems = (entry: TarEntry, { dir, name }: Place): string[] => {
  const stat = dir === undefined ? undefined : statIfThere(dir, name)
  if (dir === undefined || !stat) return [missing]
  const [is, wanted] = [stat.mode & S_IFMT, types[entry.type]]
  if (is !== wanted) return [`is ${typeName(is)} in place of ${typeName(wanted)}`]
  return [
    ...ownerProblems(stat, entry, modeBits(entry)),
    ...kindProblems(entry, stat, { dir, name }),
    ...xattrProblems(entry, pathAt(dir, name)),
  ]
}

/** Of a directory that no entry told of: it has the metadata of the layers below, or the plain one. */
export const impliedProblems = ({ dir, name }: Place, below: FileStat | undefined): string[] => {
  const stat = dir === undefined ? undefined : statIfThere(dir, name)
  if (!stat) return [missing]
  if (!isDirectory(stat)) return [`is ${typeName(stat.mode & S_IFMT)} in place of a directory`]
  if (below && isDirectory(below)) return ownerProblems(stat, below, 0o7777)
  return (stat.mode & 0o777) === 0o755 ? [] : [`has the mode ${octal(stat.mode & 0o7777)} in place of 0755`]
}

/** Of a hard link to what the layers below have: it is a copy. */
export const copyProblems = (
  original: (MergedEntry & { name: Buffer }) | undefined,
  { dir, name }: Place,
  stat: FileStat,
): string[] => {
  // Then it could not have been unpacked: what is below has been changed, and is told of itself.
  if (!original || dir === undefined) return []
  if ((original.stat.mode & S_IFMT) !== (stat.mode & S_IFMT))
    return [`is ${typeName(stat.mode & S_IFMT)} in place of ${typeName(original.stat.mode & S_IFMT)}`]
  const differs = (stat.mode & S_IFMT) === S_IFREG && !sameContent({ dir, name }, original)
  return [...ownerProblems(stat, original.stat, 0o7777), ...(differs ? ['has other content'] : [])]
}

export const rootProblems = (wanted: RootMetadata | undefined, stat: FileStat): string[] =>
  wanted ? ownerProblems(stat, wanted, 0o7777) : []
