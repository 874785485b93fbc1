import { constants } from 'node:os'
import { hasCode } from '../core/errors.ts'
import { koffi, SystemError, sys } from './ffi.ts'

/**
 * File descriptors as numbers: sent and received over unix sockets by
 * SCM_RIGHTS, and the raw sockets that this needs. Node has no call for either.
 * All descriptors made here are close-on-exec.
 */

koffi.struct('berth_iovec', { base: 'void *', length: 'size_t' })
koffi.struct('berth_msghdr', {
  name: 'void *',
  namelen: 'uint32_t',
  iov: 'berth_iovec *',
  iovlen: 'size_t',
  control: 'void *',
  controllen: 'size_t',
  flags: 'int',
})

const sysSendmsg = sys('long sendmsg(int fd, const berth_msghdr *message, int flags)')
const sysRecvmsg = sys('long recvmsg(int fd, _Inout_ berth_msghdr *message, int flags)')
const sysSocketpair = sys('int socketpair(int domain, int type, int protocol, _Out_ int *fds)')
const sysSocket = sys('int socket(int domain, int type, int protocol)')
const sysConnect = sys('int connect(int fd, const void *address, uint32_t length)')
const sysSetsockopt = sys('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)')
const sysGetsockopt = sys(
  'int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ uint32_t *length)',
)
const sysGetsockname = sys('int getsockname(int fd, void *address, void *length)')
const sysPoll = sys('int poll(_Inout_ void *entries, unsigned long count, int timeout)')
const sysMemfd = sys('int memfd_create(const char *name, unsigned int flags)')
const sysWrite = sys('long write(int fd, const void *data, size_t length)')
const sysFcntl = sys('int fcntl(int fd, int command, long argument)')
const sysClose = sys('int close(int fd)')

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_PEERCRED = 17
const SO_PEERGROUPS = 59
const SO_RCVTIMEO = 20
const SO_SNDTIMEO = 21
const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CTRUNC = 0x8
const MSG_CMSG_CLOEXEC = 0x40000000
const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
/** Since Linux 6.3; before, every file in memory could be run. */
const MFD_EXEC = 0x10
const F_ADD_SEALS = 1033
/** Against more seals, shrinking, growing and writing. */
const ALL_SEALS = 0xf
const F_SETFD = 2
const FD_CLOEXEC = 1
const F_DUPFD_CLOEXEC = 1030
const EAGAIN = 11
const CMSG_HEADER = 16
const SOCKADDR_UN_PATH = 108

const controlFor = (fds: readonly number[]): Buffer => {
  const length = CMSG_HEADER + 4 * fds.length
  const control = Buffer.alloc(Math.ceil(length / 8) * 8)
  control.writeBigUInt64LE(BigInt(length), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  for (const [index, fd] of fds.entries()) control.writeInt32LE(fd, CMSG_HEADER + 4 * index)
  return control
}

/**
 * Sends bytes, with descriptors riding on the first of them. Never waits.
 * Returns the bytes taken, which may be fewer than given (the descriptors are
 * then gone all the same). Throws SystemError; see `wouldBlock` for a full buffer.
 */
export const sendDescriptors = (socket: number, data: Uint8Array, fds: readonly number[]): number => {
  const control = fds.length > 0 ? controlFor(fds) : null
  const message = {
    name: null,
    namelen: 0,
    iov: [{ base: data, length: data.length }],
    iovlen: 1,
    control,
    controllen: control?.length ?? 0,
    flags: 0,
  }
  return sysSendmsg(socket, message, MSG_DONTWAIT | MSG_NOSIGNAL)
}

/** The call would have waited: no room in the buffer, or nothing came in time. Linux has one number for both names. */
export const wouldBlock = (error: unknown): boolean => error instanceof SystemError && error.errno === EAGAIN

/** Node's SIGCHLD and its like interrupt even sockets that have a timeout; the call is then made again. */
const uninterrupted = (call: () => number): number => {
  for (;;) {
    try {
      return call()
    } catch (error) {
      if (!hasCode(error, 'EINTR')) throw error
    }
  }
}

export interface Received {
  /** Empty at the end of the stream. */
  data: Buffer
  /** Owned by the caller. */
  fds: number[]
}

/**
 * Receives up to `size` bytes and the descriptors that came with them (at most
 * 8; more is an error). Waits as long as the socket does: see `setTimeouts`.
 */
export const receiveDescriptors = (socket: number, size: number): Received => {
  const data = Buffer.alloc(size)
  const control = Buffer.alloc(CMSG_HEADER + 4 * 8)
  const message = {
    name: null,
    namelen: 0,
    iov: [{ base: data, length: size }],
    iovlen: 1,
    control,
    controllen: control.length,
    flags: 0,
  }
  const length = uninterrupted(() => sysRecvmsg(socket, message, MSG_CMSG_CLOEXEC))
  const fds: number[] = []
  const used = Number(message.controllen)
  const isRights = used > CMSG_HEADER && control.readInt32LE(12) === SCM_RIGHTS
  const end = isRights ? Number(control.readBigUInt64LE(0)) : 0
  for (let at = CMSG_HEADER; at + 4 <= end; at += 4) fds.push(control.readInt32LE(at))
  if (message.flags & MSG_CTRUNC) {
    for (const fd of fds) closeDescriptor(fd)
    throw new Error('more descriptors came with one message than were expected')
  }
  return { data: data.subarray(0, length), fds }
}

/** Two connected unix stream sockets. */
export const socketPair = (): [number, number] => {
  const fds = [-1, -1]
  sysSocketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
  return [fds[0] ?? -1, fds[1] ?? -1]
}

/**
 * Connects to a unix socket and returns the blocking descriptor. `path` has at
 * most 107 bytes: name a longer one through `/proc/self/fd/<directory>/…`.
 */
export const connectUnix = (path: string): number => {
  const bytes = Buffer.from(path)
  if (bytes.length >= SOCKADDR_UN_PATH) throw new Error(`the socket path ${path} is longer than 107 bytes`)
  const address = Buffer.alloc(2 + SOCKADDR_UN_PATH)
  address.writeUInt16LE(AF_UNIX, 0)
  bytes.copy(address, 2)
  const fd = sysSocket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
  try {
    uninterrupted(() => sysConnect(fd, address, address.length))
    return fd
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** What a unix socket is bound to: its path, or `@` and an abstract name. Empty for any other socket. */
export const boundPath = (socket: number): string => {
  const address = Buffer.alloc(2 + SOCKADDR_UN_PATH)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(address.length)
  sysGetsockname(socket, address, length)
  if (address.readUInt16LE(0) !== AF_UNIX) return ''
  const name = address.toString('utf8', 2, Math.min(length.readUInt32LE(0), address.length))
  return name.startsWith('\0') ? `@${name.slice(1)}` : (name.split('\0', 1)[0] ?? '')
}

/** Bounds how long a blocking send or receive may take; it then fails as `wouldBlock` tells. */
export const setTimeouts = (socket: number, milliseconds: number): void => {
  const value = Buffer.alloc(16)
  value.writeBigInt64LE(BigInt(Math.floor(milliseconds / 1000)), 0)
  value.writeBigInt64LE(BigInt((milliseconds % 1000) * 1000), 8)
  sysSetsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, value, value.length)
  sysSetsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, value, value.length)
}

export interface PeerCredentials {
  pid: number
  uid: number
  gid: number
}

/** Who connected a unix socket, as it was at that moment; pid 0 where it is in no namespace that is seen here. */
export const peerCredentials = (socket: number): PeerCredentials => {
  const value = Buffer.alloc(12)
  sysGetsockopt(socket, SOL_SOCKET, SO_PEERCRED, value, [value.length])
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
}

const POLLERR = 8
const POLLHUP = 16

/** Whether the other end of a connection is closed, in both directions: seen without reading from it. */
export const hasHungUp = (fd: number): boolean => {
  const entry = Buffer.alloc(8)
  entry.writeInt32LE(fd, 0)
  sysPoll(entry, 1, 0)
  return (entry.readInt16LE(6) & (POLLERR | POLLHUP)) !== 0
}

/** Supplementary groups of who connected a unix socket. */
export const peerGroups = (socket: number): number[] => {
  const length = [4 * 64]
  for (;;) {
    const value = Buffer.alloc(length[0] ?? 0)
    try {
      sysGetsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, value, length)
      return Array.from({ length: (length[0] ?? 0) / 4 }, (_, index) => value.readUInt32LE(index * 4))
    } catch (error) {
      // The length is now what they need.
      if (!hasCode(error, 'ERANGE')) throw error
    }
  }
}

/** An anonymous file with these bytes, for handing over more than a frame should carry. */
export const memoryFile = (name: string, bytes: Uint8Array): number =>
  filled(sysMemfd(name, MFD_CLOEXEC), bytes)

/** A program in memory that nobody can ever change again. Throws where the host forbids such. */
export const sealedMemoryFile = (name: string, bytes: Uint8Array): number => {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
  let fd: number
  try {
    fd = sysMemfd(name, flags | MFD_EXEC)
  } catch (error) {
    if (!hasCode(error, 'EINVAL')) throw error
    fd = sysMemfd(name, flags)
  }
  filled(fd, bytes)
  sysFcntl(fd, F_ADD_SEALS, ALL_SEALS)
  return fd
}

const filled = (fd: number, bytes: Uint8Array): number => {
  try {
    for (let at = 0; at < bytes.length; ) at += sysWrite(fd, bytes.subarray(at), bytes.length - at)
    return fd
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** A second descriptor of the same open file, numbered `least` or higher. */
export const duplicateDescriptor = (fd: number, least = 3): number => {
  try {
    return sysFcntl(fd, F_DUPFD_CLOEXEC, least)
  } catch (error) {
    // Of a number above the limit fcntl(2) says that it is invalid.
    if (hasCode(error, 'EINVAL')) throw new SystemError('fcntl', constants.errno.EMFILE)
    throw error
  }
}

/** Keeps an inherited descriptor from the programs that are started here. Throws SystemError `EBADF` where there is none. */
export const closeOnExec = (fd: number): void => {
  sysFcntl(fd, F_SETFD, FD_CLOEXEC)
}

/** Closes a descriptor that was made here; one that is already closed is a programming error and throws. */
export const closeDescriptor = (fd: number): void => {
  sysClose(fd)
}
