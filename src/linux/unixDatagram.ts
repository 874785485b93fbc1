import { closeDescriptor, sealedMemoryFile, sendDescriptors } from './descriptors.ts'
import { sys } from './ffi.ts'

/** Datagrams to a unix socket, which Node has not. */
const sysSocket = sys('int socket(int domain, int type, int protocol)')
const sysConnect = sys('int connect(int fd, const void *address, unsigned int length)')
const sysSend = sys('long send(int fd, const void *bytes, size_t size, int flags)')
const sysClose = sys('int close(int fd)')

const AF_UNIX = 1
/** Datagrams, close-on-exec, non-blocking. */
const flags = 2 | 0o2000000 | 0o4000
const MSG_NOSIGNAL = 0x4000

export class UnixDatagram implements Disposable {
  readonly #fd: number

  /** Errors: SystemError `ENOENT`, `ECONNREFUSED`, … */
  constructor(path: string) {
    this.#fd = sysSocket(AF_UNIX, flags, 0)
    const address = Buffer.concat([Buffer.alloc(2), Buffer.from(path), Buffer.alloc(1)])
    address.writeUInt16LE(AF_UNIX, 0)
    try {
      sysConnect(this.#fd, address, address.length)
    } catch (error) {
      sysClose(this.#fd)
      throw error
    }
  }

  /** Errors: SystemError `EAGAIN` where the receiver's queue is full, `EMSGSIZE`, `ECONNREFUSED` where it is gone. */
  send(bytes: Buffer): void {
    sysSend(this.#fd, bytes, bytes.length, MSG_NOSIGNAL)
  }

  /**
   * Sends what is too long for a datagram as a sealed file in memory, as systemd's journal takes it.
   * Errors: as `send`'s.
   */
  sendFile(bytes: Buffer): void {
    const file = sealedMemoryFile('log-entry', bytes)
    try {
      sendDescriptors(this.#fd, Buffer.alloc(0), [file])
    } finally {
      closeDescriptor(file)
    }
  }

  [Symbol.dispose](): void {
    sysClose(this.#fd)
  }
}
