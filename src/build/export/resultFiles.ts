import { read } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { namesOf } from '../../archive/merged.ts'
import { comparePaths, toBytes } from '../../archive/paths.ts'
import { BerthError, badRequest, notFound } from '../../core/errors.ts'
import { SystemError } from '../../linux/ffi.ts'
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  openAt,
  openIn,
  owned,
  RESOLVE_CONTAINED,
  readLinkAt,
} from '../../linux/files.ts'
import { type FileStat, S_IFLNK, S_IFMT, S_IFREG, statAt, statFd } from '../../linux/stat.ts'
import { IgnoreMatcher } from '../dockerfile/ignore.ts'

/** Files of a result that is mounted, for who leads a build. Links are followed within it, and never out of it. */

export interface ResultEntry {
  /** Its own name. */
  path: string
  /** Linux's st_mode. */
  mode: number
  uid: number
  gid: number
  /** Bytes; none of a folder. */
  size: number
  /** Nanoseconds since the epoch. */
  mtime: bigint
  /** Of a link. */
  target: string
}

/** What BuildKit's clients take in one message. Bytes. */
const mostBytes = 16 << 20
const mostEntries = 50_000

const readAt = promisify(read)

const opened = (root: string, name: string, flags: number): { fd: number } & Disposable => {
  using folder = owned(openAt(AT_FDCWD, root, O_RDONLY | O_DIRECTORY))
  try {
    return owned(openIn(folder.fd, `/${name}`, { flags, resolve: RESOLVE_CONTAINED }))
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    if (error.code === 'ENOENT') throw notFound(`open ${name}: no such file or directory`)
    throw badRequest(`open ${name}: ${error.message}`, error)
  }
}

export interface FilePart {
  path: string
  /** Bytes. */
  offset: number
  /** To the end without. */
  length?: number
}

/** Errors: `not-found`, `bad-request` for what is no file, `too-large` past 16 MiB. */
export const readResultFile = async (
  root: string,
  { path: name, offset, length }: FilePart,
): Promise<Buffer> => {
  using file = opened(root, name, O_RDONLY | O_NONBLOCK)
  const { mode, size } = statFd(file.fd)
  if ((mode & S_IFMT) !== S_IFREG) throw badRequest(`${name} is not a regular file`)
  const wanted = Math.max(0, Math.min(length ?? size, size - offset))
  if (wanted > mostBytes)
    throw new BerthError(
      'too-large',
      413,
      `cannot read ${name}: ${wanted} bytes are more than one message holds; read it in parts`,
    )
  const bytes = Buffer.alloc(wanted)
  let filled = 0
  while (filled < wanted) {
    const { bytesRead } = await readAt(file.fd, bytes, filled, wanted - filled, offset + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}

const entryOf = (name: string, stat: FileStat, target: string): ResultEntry => ({
  path: name,
  mode: stat.mode,
  uid: stat.uid,
  gid: stat.gid,
  size: (stat.mode & S_IFMT) === S_IFREG || target !== '' ? stat.size : 0,
  mtime: stat.mtime,
  target,
})

/** By name; `pattern` as in `.dockerignore`, of names, and empty for all. Errors: `not-found`, `bad-request`, `too-large`. */
export const readResultDirectory = (
  root: string,
  { path: name, pattern }: { path: string; pattern: string },
): ResultEntry[] => {
  using folder = opened(root, name, O_RDONLY | O_DIRECTORY)
  const matcher = pattern === '' ? undefined : new IgnoreMatcher([pattern])
  const entries: ResultEntry[] = []
  for (const own of namesOf(folder.fd).toSorted(comparePaths)) {
    const bytes = toBytes(own)
    const shown = bytes.toString()
    if (matcher && !matcher.ignores(shown)) continue
    const stat = statAt(folder.fd, bytes)
    const isLink = (stat.mode & S_IFMT) === S_IFLNK
    entries.push(entryOf(shown, stat, isLink ? readLinkAt(folder.fd, bytes).toString() : ''))
    if (entries.length > mostEntries)
      throw new BerthError('too-large', 413, `cannot list ${name}: it holds more than ${mostEntries} names`)
  }
  return entries
}

/** Of what the path leads to. Errors: `not-found`, `bad-request`. */
export const statResultFile = (root: string, name: string): ResultEntry => {
  using file = opened(root, name, O_PATH)
  return entryOf(path.posix.basename(name), statFd(file.fd), '')
}
