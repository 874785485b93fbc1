import { randomInt } from 'node:crypto'
import { SystemError, sys } from './ffi.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned } from './files.ts'

/**
 * Quotas of projects: a limit on what lies below a folder. Kept by XFS with the
 * mount option `pquota` and by ext4 with the feature `project` and `prjquota`.
 */

const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
const FS_XFLAG_PROJINHERIT = 0x200
/** struct fsxattr: flags at 0, the project at 12. */
const FSXATTR_SIZE = 28

const PRJQUOTA = 2
const command = (number: number): number => (number << 8) | PRJQUOTA
const Q_XGETQUOTA = command(0x5803)
const Q_XSETQLIM = command(0x5804)
const Q_XGETQSTAT = command(0x5805)
const FS_QUOTA_PDQ_ENFD = 1 << 5

/** struct fs_disk_quota (112 bytes), limits in blocks of 512 bytes. */
const DISK_QUOTA_SIZE = 112
const FS_DQUOT_VERSION = 1
const FS_PROJ_QUOTA = 2
const FS_DQ_BSOFT_AND_BHARD = (1 << 2) | (1 << 3)
const BLOCK = 512

const ioctl = sys('int ioctl(int fd, unsigned long request, void *argument)')

/** Linux 5.14; the C library has no name for it. */
const SYS_quotactl_fd = 443
const syscall = sys(
  'long syscall(long number, unsigned int fd, unsigned int command, unsigned int id, void *data)',
)
const quotactl = (fd: number, quotaCommand: number, project: number, data: Buffer): void => {
  syscall(SYS_quotactl_fd, fd, quotaCommand, project, data)
}

/** Whether the file system of an open folder keeps to limits of projects. */
const enforces = (fd: number): boolean => {
  const state = Buffer.alloc(80)
  try {
    quotactl(fd, Q_XGETQSTAT, 0, state)
  } catch {
    return false
  }
  return (state.readUInt16LE(2) & FS_QUOTA_PDQ_ENFD) !== 0
}

const openDirectory = (path: string) => owned(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY))

/** Whether folders at `path` can have a limit of their own. */
export const hasProjectQuotas = (path: string): boolean => {
  using directory = openDirectory(path)
  return enforces(directory.fd)
}

const isFree = (fd: number, project: number): boolean => {
  const found = Buffer.alloc(DISK_QUOTA_SIZE)
  try {
    quotactl(fd, Q_XGETQUOTA, project, found)
  } catch (error) {
    if (error instanceof SystemError && ['ENOENT', 'ESRCH'].includes(error.code)) return true
    throw error
  }
  const [limit, used, inodes] = [8, 40, 48].map(at => found.readBigUInt64LE(at))
  return limit === 0n && used === 0n && inodes === 0n
}

const setLimit = (fd: number, project: number, bytes: number): void => {
  const wanted = Buffer.alloc(DISK_QUOTA_SIZE)
  wanted.writeInt8(FS_DQUOT_VERSION, 0)
  wanted.writeInt8(FS_PROJ_QUOTA, 1)
  wanted.writeUInt16LE(FS_DQ_BSOFT_AND_BHARD, 2)
  wanted.writeUInt32LE(project, 4)
  const blocks = BigInt(Math.floor(bytes / BLOCK))
  wanted.writeBigUInt64LE(blocks, 8)
  wanted.writeBigUInt64LE(blocks, 16)
  quotactl(fd, Q_XSETQLIM, project, wanted)
}

/** Numbers below are for those who number their projects by hand. */
const firstProject = 0x100000

/**
 * Limits what an empty folder comes to hold, in bytes, by a project of its own: one whose number nobody uses on the
 * file system, whoever else makes some. Errors: SystemError.
 */
export const limitDirectory = (path: string, bytes: number): void => {
  using directory = openDirectory(path)
  const { fd } = directory
  let project = 0
  do project = randomInt(firstProject, 2 ** 31)
  while (!isFree(fd, project))
  setLimit(fd, project, bytes)
  try {
    giveTo(fd, project)
  } catch (error) {
    setLimit(fd, project, 0)
    throw error
  }
}

const attributesOf = (fd: number): Buffer => {
  const attributes = Buffer.alloc(FSXATTR_SIZE)
  ioctl(fd, FS_IOC_FSGETXATTR, attributes)
  return attributes
}

/** What comes to be in the folder belongs to the project, too. */
const giveTo = (fd: number, project: number): void => {
  const attributes = attributesOf(fd)
  attributes.writeUInt32LE((attributes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT) >>> 0, 0)
  attributes.writeUInt32LE(project, 12)
  ioctl(fd, FS_IOC_FSSETXATTR, attributes)
}

/** Takes away what `limitDirectory` did: the project's number can be used again when nothing is left of it. */
export const endLimit = (path: string): void => {
  using directory = openDirectory(path)
  const project = attributesOf(directory.fd).readUInt32LE(12)
  if (project >= firstProject) setLimit(directory.fd, project, 0)
}
