import { mkdirSync } from 'node:fs'
import { SystemError, sys } from './ffi.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned } from './files.ts'

/**
 * A folder whose directories have nothing to do with one another (FS_TOPDIR_FL of ioctl_iflags(2), `chattr +T`): ext4
 * puts each of them into a block group of its own, as it does with those of its root, instead of all into that of the
 * folder. It gives the inode of a file that was deleted to no other one for a minute or more, and looks at all such ones
 * of a group before each file that it makes there: beside trees that come and go a file takes many times as long.
 */

const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_TOPDIR_FL = 0x0002_0000

const ioctl = sys('int ioctl(int fd, unsigned long request, void *flags)')

/** The kernel writes an int, whatever the numbers say. */
const flagsOf = (fd: number): Buffer => {
  const flags = Buffer.alloc(8)
  ioctl(fd, FS_IOC_GETFLAGS, flags)
  return flags
}

const openFolder = (folder: string) => owned(openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY))

/** False where the file system knows nothing of it. */
export const holdsUnrelatedTrees = (folder: string): boolean => {
  using directory = openFolder(folder)
  try {
    return (flagsOf(directory.fd).readUInt32LE() & FS_TOPDIR_FL) !== 0
  } catch (error) {
    if (error instanceof SystemError) return false
    throw error
  }
}

/** Only makes things faster: where the file system has none of it, nothing is done. */
const mark = (folder: string): void => {
  using directory = openFolder(folder)
  try {
    const flags = flagsOf(directory.fd)
    const before = flags.readUInt32LE()
    if ((before & FS_TOPDIR_FL) !== 0) return
    flags.writeUInt32LE((before | FS_TOPDIR_FL) >>> 0)
    ioctl(directory.fd, FS_IOC_SETFLAGS, flags)
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
  }
}

/** Makes the folder, with those above it, unless it is there. */
export const makeTreesFolder = (folder: string, mode: number): void => {
  mkdirSync(folder, { recursive: true, mode })
  mark(folder)
}
