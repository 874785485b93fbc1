import type { ByteString } from '../../archive/paths.ts'
import { toByteString, toBytes } from '../../archive/paths.ts'
import {
  chmodFd,
  deviceNumber,
  linkAt,
  makeDirAt,
  makeNodeAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
  readLinkAt,
  setTimesAt,
  setTimesFd,
  symlinkAt,
  unlinkAt,
} from '../../linux/files.ts'
import {
  type FileStat,
  isDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  statIfThere,
} from '../../linux/stat.ts'
import { type ContextPlaces, setXattrs } from './contextPlaces.ts'
import { kindOf, permissionsOf } from './goFileMode.ts'
import type { Stat } from './packets.ts'
import type { SyncedEntry } from './types.ts'

/** Entries of a context folder that are no files with bytes: each is left as it is, or made. */

export const entryOf = (stat: Stat): SyncedEntry => ({
  path: toByteString(stat.path),
  kind: kindOf(stat.mode),
  mode: permissionsOf(stat.mode),
  size: 0,
  mtime: stat.modTime,
})

const permissions = (stat: FileStat): number => stat.mode & 0o7777

/** Whether what is there looks as the client's: fsutil's rule, without owners. */
export const looksSame = (there: FileStat, wanted: Stat): boolean =>
  (there.mode & S_IFMT) === S_IFREG &&
  there.size === Number(wanted.size) &&
  there.mtime === wanted.modTime &&
  permissions(there) === permissionsOf(wanted.mode)

/** Leaves a directory or makes one; its times are set at the end, as its content changes them. */
export const keepDirectory = (
  places: ContextPlaces,
  entry: SyncedEntry,
  { stat, there }: { stat: Stat; there: FileStat | undefined },
): { isNew: boolean } => {
  const isNew = !there || !isDirectory(there)
  if (!isNew && permissions(there) === entry.mode) return { isNew }
  if (there && isNew) places.remove(entry.path)
  const { dir, name } = places.at(entry.path)
  if (isNew) makeDirAt(dir, name, 0o700)
  using directory = owned(openAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
  setXattrs(directory.fd, stat.xattrs)
  chmodFd(directory.fd, entry.mode)
  return { isNew }
}

export const keepDirectoryTime = (places: ContextPlaces, { path, mtime }: SyncedEntry): void => {
  const { dir, name } = places.at(path)
  if (statIfThere(dir, name)?.mtime === mtime) return
  using directory = owned(openAt(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
  setTimesFd(directory.fd, mtime, mtime)
}

/** What was there of an entry, and the number of what may take its place. */
interface Place {
  there: FileStat | undefined
  number: number
}

const isSameLink = (places: ContextPlaces, entry: SyncedEntry, there: FileStat | undefined): boolean => {
  if (!there || (there.mode & S_IFMT) !== S_IFLNK || there.mtime !== entry.mtime) return false
  const { dir, name } = places.at(entry.path)
  return toByteString(readLinkAt(dir, name)) === entry.target
}

/** A symbolic link. */
export const keepLink = (places: ContextPlaces, entry: SyncedEntry, { there, number }: Place): void => {
  if (isSameLink(places, entry, there)) return
  const unfinished = places.unfinishedAt(number)
  symlinkAt(toBytes(entry.target ?? ''), unfinished.dir, unfinished.name)
  setTimesAt(unfinished, entry.mtime, entry.mtime)
  places.place(number, entry.path)
}

const nodeTypes: Partial<Record<SyncedEntry['kind'], number>> = {
  fifo: S_IFIFO,
  character: S_IFCHR,
  block: S_IFBLK,
}

/** A device or a FIFO. */
export const keepNode = (places: ContextPlaces, entry: SyncedEntry, { there, number }: Place): void => {
  const mode = (nodeTypes[entry.kind] ?? S_IFIFO) | entry.mode
  const { major, minor } = entry.device ?? { major: 0, minor: 0 }
  if (
    there?.mode === mode &&
    there.rdevMajor === major &&
    there.rdevMinor === minor &&
    there.mtime === entry.mtime
  )
    return
  const unfinished = places.unfinishedAt(number)
  makeNodeAt(unfinished, mode, deviceNumber(major, minor))
  setTimesAt(unfinished, entry.mtime, entry.mtime)
  places.place(number, entry.path)
}

/** A hard link to a file that is there by now. */
export const keepHardLink = (
  places: ContextPlaces,
  link: { path: ByteString; sameAs: ByteString; number: number },
): void => {
  const there = places.stat(link.path)
  if (there && there.inode === places.stat(link.sameAs)?.inode) return
  const unfinished = places.unfinishedAt(link.number)
  linkAt(places.at(link.sameAs), unfinished)
  places.place(link.number, link.path)
  // Two names of one inode are not exchanged by a rename: both would stay.
  if (statIfThere(unfinished.dir, unfinished.name)) unlinkAt(unfinished.dir, unfinished.name)
}
