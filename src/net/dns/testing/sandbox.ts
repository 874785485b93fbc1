/** Clients of the name server inside a sandbox, as a container's processes have them. */
import dgram from 'node:dgram'
import net from 'node:net'
import { sys } from '../../../linux/ffi.ts'
import { inNamespace } from '../../../linux/namespace.ts'
import { MemoryKeeper } from '../../testing/stage.ts'
import { Framing, framed } from '../framing.ts'
import type { DescriptorKeeper } from '../types.ts'

const dup = sys('int dup(int fd)')
const socket = sys('int socket(int domain, int type, int protocol)')
const bind = sys('int bind(int fd, const void *address, unsigned int length)')
const connect = sys('int connect(int fd, const void *address, unsigned int length)')
const CLOEXEC = 0o2000000
const NONBLOCK = 0o4000

export class Keeper extends MemoryKeeper implements DescriptorKeeper {
  async take(name: string): Promise<number | undefined> {
    const fd = this.kept.get(name)
    return fd === undefined ? undefined : dup(fd)
  }
}

const place = (port: number, address = '0.0.0.0'): Buffer => {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(2, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.set(address.split('.').map(Number), 4)
  return bytes
}

/** A UDP client inside a namespace. */
export const client = async (pin: string, port = 0): Promise<dgram.Socket> => {
  const fd = inNamespace(pin, () => {
    const made = socket(2, 2 | CLOEXEC | NONBLOCK, 0)
    bind(made, place(port), 16)
    return made
  })
  const made = dgram.createSocket('udp4')
  await new Promise<void>(resolve => made.bind({ fd }, resolve))
  return made
}

const askFrom = async (from: dgram.Socket, message: Buffer): Promise<Buffer> => {
  const heard = new Promise<Buffer>(resolve => from.once('message', resolve))
  from.send(message, 53, '127.0.0.11')
  return heard
}

export const ask = async (pin: string, message: Buffer): Promise<Buffer> => {
  const from = await client(pin)
  try {
    return await askFrom(from, message)
  } finally {
    from.close()
  }
}

/** As a resolver does where many ask: a datagram that is lost is sent again. */
export const askUntil = async (pin: string, message: Buffer): Promise<Buffer> => {
  const from = await client(pin)
  const again = setInterval(() => from.send(message, 53, '127.0.0.11'), 500)
  try {
    return await askFrom(from, message)
  } finally {
    clearInterval(again)
    from.close()
  }
}

/** A TCP connection to the name server: the kernel makes it, also where nobody takes it. */
export const connection = (pin: string): net.Socket => {
  const fd = inNamespace(pin, () => {
    const made = socket(2, 1 | CLOEXEC, 0)
    connect(made, place(53, '127.0.0.11'), 16)
    return made
  })
  const made = new net.Socket({ fd, readable: true, writable: true })
  return made.on('error', () => {})
}

/** The answer to a message; undefined where the connection ends instead. */
export const askOver = (over: net.Socket, message: Buffer): Promise<Buffer | undefined> =>
  new Promise(resolve => {
    const framing = new Framing()
    over.on('data', (chunk: Buffer) => {
      const [answer] = framing.push(chunk)
      if (answer) resolve(answer)
    })
    over.once('close', () => resolve(undefined))
    over.write(framed(message))
  })
