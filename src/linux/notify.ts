import { koffi, libc, SystemError } from './ffi.ts'

/** sd_notify(3): tells systemd how things stand; does nothing where it did not ask. Node has no unix datagram sockets. */
const socket = libc.func('int socket(int domain, int type, int protocol)')
const sendto = libc.func(
  'long sendto(int fd, const void *bytes, size_t size, int flags, const void *address, unsigned int length)',
)
const close = libc.func('int close(int fd)')

const AF_UNIX = 1
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000

/** struct sockaddr_un; a name that begins with `@` is abstract. */
const addressOf = (name: string): Buffer => {
  const address = Buffer.alloc(2 + name.length)
  address.writeUInt16LE(AF_UNIX, 0)
  address.write(name.startsWith('@') ? `\0${name.slice(1)}` : name, 2, 'latin1')
  return address
}

let taken = ''

/** Takes its address out of the environment: a program that is started here would speak in the daemon's place, as systemd's own do. */
export const takeNotifySocket = (): void => {
  taken = process.env['NOTIFY_SOCKET'] ?? ''
  delete process.env['NOTIFY_SOCKET']
}

/** `state` is lines such as `READY=1`; `name` is the address that was taken, unless told. */
export const notifySystemd = (state: string, name = taken): void => {
  if (name === '') return
  const fd = Number(socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0))
  if (fd < 0) throw new SystemError('socket', koffi.errno())
  try {
    const bytes = Buffer.from(state)
    const address = addressOf(name)
    const sent = Number(sendto(fd, bytes, bytes.length, 0, address, address.length))
    if (sent < 0) throw new SystemError('sendto', koffi.errno(), name)
  } finally {
    close(fd)
  }
}
