import { sys } from '../../linux/ffi.ts'
import { inNamespace } from '../../linux/namespace.ts'
import { rewritePorts } from '../../linux/portRewrite.ts'

/** The sockets in a container's namespace, and the rules that lead to them. */

const AF_INET = 2
const NONBLOCKING_CLOEXEC = 0o2004000
const types = { udp: 2 | NONBLOCKING_CLOEXEC, tcp: 1 | NONBLOCKING_CLOEXEC }
const backlog = 128
const serverAddress = '127.0.0.11'
const dnsPort = 53
const table = 'berth-dns'

const socket = sys('int socket(int domain, int type, int protocol)')
const bind = sys('int bind(int fd, const void *address, unsigned int length)')
const listen = sys('int listen(int fd, int backlog)')
const getsockname = sys('int getsockname(int fd, void *address, void *length)')
const close = sys('int close(int fd)')

export interface SandboxSocket {
  fd: number
  port: number
}

export interface SandboxSockets {
  udp: SandboxSocket
  tcp: SandboxSocket
}

const boundSocket = (protocol: 'udp' | 'tcp'): SandboxSocket => {
  const fd = socket(AF_INET, types[protocol], 0)
  try {
    const address = Buffer.alloc(16)
    address.writeUInt16LE(AF_INET, 0)
    address.set(serverAddress.split('.').map(Number), 4)
    bind(fd, address, address.length)
    if (protocol === 'tcp') listen(fd, backlog)
    const length = Buffer.from([address.length, 0, 0, 0])
    getsockname(fd, address, length)
    return { fd, port: address.readUInt16BE(2) }
  } catch (error) {
    close(fd)
    throw error
  }
}

export const closeSockets = (...sockets: (SandboxSocket | undefined)[]): void => {
  for (const each of sockets) if (each) close(each.fd)
}

/**
 * Opens both sockets in the namespace pinned at `sandbox`, with the rules,
 * which take the place of former ones. Nothing is left where it fails. Errors: SystemError.
 */
export const openSockets = (sandbox: string): SandboxSockets =>
  inNamespace(sandbox, () => {
    let udp: SandboxSocket | undefined
    let tcp: SandboxSocket | undefined
    try {
      udp = boundSocket('udp')
      tcp = boundSocket('tcp')
      const shared = { address: serverAddress, port: dnsPort }
      rewritePorts(table, [
        { ...shared, protocol: 'udp', socketPort: udp.port },
        { ...shared, protocol: 'tcp', socketPort: tcp.port },
      ])
      return { udp, tcp }
    } catch (error) {
      closeSockets(udp, tcp)
      throw error
    }
  })
