import dgram from 'node:dgram'
import net from 'node:net'
import packet from 'dns-packet'
import { sys } from '../../src/linux/ffi.ts'
import { inNamespace, prepareNamespaces } from '../../src/linux/namespace.ts'

/** Real packets from within a network namespace, without a process there. */

const AF_INET = 2
const NONBLOCKING_CLOEXEC = 0o2004000
const socket = sys('int socket(int domain, int type, int protocol)')

const socketIn = async (namespace: string, type: number): Promise<number> => {
  await prepareNamespaces()
  return inNamespace(namespace, () => socket(AF_INET, type | NONBLOCKING_CLOEXEC, 0))
}

/** The page that a web server shows to who asks from there; undefined where nobody answers within `patience` (ms). */
export const page = async (
  namespace: string,
  { host, port, patience }: { host: string; port: number; patience: number },
): Promise<string | undefined> => {
  const stream = new net.Socket({
    fd: await socketIn(namespace, 1),
    manualStart: true,
  } as net.SocketConstructorOpts)
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const timer = setTimeout(resolve, patience, undefined)
  let answer = ''
  stream.on('error', () => resolve(undefined))
  stream.on('data', data => {
    answer += data
  })
  stream.on('close', () => resolve(answer.split('\r\n\r\n', 2)[1]?.trim()))
  stream.connect({ host, port }, () => stream.write('GET / HTTP/1.0\r\n\r\n'))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    stream.destroy()
  }
}

/** Addresses under a name, as the name server in a namespace says; undefined where it says nothing within `patience` (ms). */
export const resolved = async (
  namespace: string,
  { name, patience }: { name: string; patience: number },
): Promise<string[] | undefined> => {
  const asking = dgram.createSocket('udp4')
  const { promise, resolve } = Promise.withResolvers<string[] | undefined>()
  const timer = setTimeout(resolve, patience, undefined)
  asking.on('error', () => resolve(undefined))
  asking.on('message', bytes => {
    const { answers = [] } = packet.decode(bytes)
    resolve(answers.flatMap(answer => (answer.type === 'A' ? [answer.data] : [])).sort())
  })
  asking.bind({ fd: await socketIn(namespace, 2) })
  asking.send(
    packet.encode({
      type: 'query',
      id: 1,
      flags: packet.RECURSION_DESIRED,
      questions: [{ type: 'A', name }],
    }),
    53,
    '127.0.0.11',
  )
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    asking.close()
  }
}
