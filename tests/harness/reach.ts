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

export interface PageRequest {
  host: string
  port: number
  /** Milliseconds. */
  patience: number
  path?: string
  /** Makes it a POST. */
  body?: string
}

/** What a web server answers to who asks from there; undefined where it is no 200, or nobody answers in time. */
export const page = async (
  namespace: string,
  { host, port, patience, path = '/', body }: PageRequest,
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
  stream.on('close', () => resolve(/^HTTP\/1\.\d 200 .*?\r\n\r\n(.*)$/s.exec(answer)?.[1]?.trim()))
  const length = body === undefined ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`
  const head = `${body === undefined ? 'GET' : 'POST'} ${path} HTTP/1.0\r\n${length}\r\n`
  stream.connect({ host, port }, () => stream.write(head + (body ?? '')))
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
