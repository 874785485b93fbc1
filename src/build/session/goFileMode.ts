import { badRequest } from '../../core/errors.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../linux/stat.ts'
import type { EntryKind } from './types.ts'

/** Modes as Go has them (package io/fs, FileMode), which is how fsutil's packets tell them. */

const DIRECTORY = 2 ** 31
const SYMLINK = 2 ** 27
const DEVICE = 2 ** 26
const FIFO = 2 ** 25
const SOCKET = 2 ** 24
const SETUID = 2 ** 23
const SETGID = 2 ** 22
const CHARACTER = 2 ** 21
const STICKY = 2 ** 20
const IRREGULAR = 2 ** 19

const has = (mode: number, bit: number): boolean => Math.floor(mode / bit) % 2 === 1

/** Errors: `bad-request` for sockets, and for what no file can be. */
export const kindOf = (mode: number): EntryKind => {
  if (has(mode, DIRECTORY)) return 'directory'
  if (has(mode, SYMLINK)) return 'link'
  if (has(mode, DEVICE) || has(mode, CHARACTER)) return has(mode, CHARACTER) ? 'character' : 'block'
  if (has(mode, FIFO)) return 'fifo'
  if (has(mode, SOCKET) || has(mode, IRREGULAR))
    throw badRequest(`the client sent an entry of the mode ${mode.toString(8)}, which is no kind of file`)
  return 'file'
}

/** Linux's permission bits. */
export const permissionsOf = (mode: number): number =>
  (mode & 0o777) |
  (has(mode, SETUID) ? 0o4000 : 0) |
  (has(mode, SETGID) ? 0o2000 : 0) |
  (has(mode, STICKY) ? 0o1000 : 0)

const typeBits = new Map<number, number>([
  [S_IFDIR, DIRECTORY],
  [S_IFLNK, SYMLINK],
  [S_IFCHR, DEVICE + CHARACTER],
  [S_IFBLK, DEVICE],
  [S_IFIFO, FIFO],
  [S_IFREG, 0],
])

/** Of Linux's st_mode; a socket becomes a file, as fsutil sends it. */
export const toGoMode = (mode: number): number =>
  (mode & 0o777) +
  (mode & 0o4000 ? SETUID : 0) +
  (mode & 0o2000 ? SETGID : 0) +
  (mode & 0o1000 ? STICKY : 0) +
  (typeBits.get(mode & S_IFMT) ?? 0)
