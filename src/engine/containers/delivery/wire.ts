import dgram from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { hasCode, unavailable } from '../../../core/errors.ts'
import { UnixDatagram } from '../../../linux/unixDatagram.ts'
import type { Target, TlsFiles, Wire, WireOptions } from './types.ts'

const keepAlive = 30_000

/** The result of a call that calls back, unless the signal comes first. */
export const orAborted = async (
  call: (done: (error?: Error | null) => void) => void,
  signal: AbortSignal,
) => {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const leave = (): void => reject(signal.reason)
  signal.addEventListener('abort', leave, { once: true })
  try {
    call(error => (error ? reject(error) : resolve()))
    await promise
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

const readTls = async ({ ca, cert, key, verify }: TlsFiles): Promise<tls.ConnectionOptions> => ({
  ...(ca ? { ca: [...tls.getCACertificates('system'), await readFile(ca, 'utf8')] } : {}),
  ...(cert ? { cert: await readFile(cert) } : {}),
  ...(key ? { key: await readFile(key) } : {}),
  rejectUnauthorized: verify,
})

type StreamTarget = { kind: 'unix'; path: string } | Extract<Target, { kind: 'tcp' }>

const connect = async (target: StreamTarget): Promise<net.Socket> => {
  if (target.kind === 'unix') return net.connect({ path: target.path })
  const { host, port } = target
  if (!target.tls) return net.connect({ host, port })
  const servername = net.isIP(host) ? {} : { servername: host }
  return tls.connect({ host, port, ...servername, ...(await readTls(target.tls)) })
}

/** A connection whose answers the caller reads. */
export const openSocket = async (
  target: StreamTarget,
  { signal, onLost }: WireOptions,
): Promise<{ socket: net.Socket; wire: Wire }> => {
  const socket = await connect(target)
  // An error that comes while nobody waits ends the socket, too.
  socket.on('error', onLost)
  try {
    await once(socket, socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect', { signal })
  } catch (error) {
    socket.destroy()
    throw error
  }
  socket.setKeepAlive(true, keepAlive)
  let isClosed = false
  const lost = (): void => {
    if (!isClosed) onLost(unavailable('the connection was closed by the other side'))
    socket.destroy()
  }
  socket.once('end', lost).once('close', lost)
  const wire: Wire = {
    send: (messages, stop) => orAborted(done => socket.write(Buffer.concat(messages), done), stop),
    [Symbol.dispose]: () => {
      isClosed = true
      // What was written goes on its way; a side that takes nothing is cut.
      socket.end()
      setTimeout(() => socket.destroy(), 1000).unref()
    },
  }
  return { socket, wire }
}

const openStream = async (target: StreamTarget, options: WireOptions): Promise<Wire> => {
  const { socket, wire } = await openSocket(target, options)
  socket.resume()
  return wire
}

/** Datagrams that are sent without a pause. */
const burst = 32

const openUdp = async (
  { host, port }: Target & { kind: 'udp' },
  { signal, onLost }: WireOptions,
): Promise<Wire> => {
  const { address, family } = await lookup(host)
  signal.throwIfAborted()
  const socket = dgram.createSocket(family === 6 ? 'udp6' : 'udp4')
  socket.connect(port, address)
  try {
    await once(socket, 'connect')
  } catch (error) {
    socket.close()
    throw error
  }
  socket.on('error', onLost)
  return {
    send: async (messages, stop) => {
      for (const [index, message] of messages.entries()) {
        await orAborted(done => socket.send(message, done), stop)
        // A receiver's queue is short, and what does not fit it is lost without a word.
        if (index % burst === burst - 1) await sleep(1, undefined, { signal: stop })
      }
    },
    [Symbol.dispose]: () => {
      socket.close()
    },
  }
}

/** Nothing tells when a full queue has room again: it is tried after a time that grows, in milliseconds. */
const longestPause = 500

const sendPatiently = async (socket: UnixDatagram, message: Buffer, signal: AbortSignal): Promise<void> => {
  for (let pause = 5; ; pause = Math.min(longestPause, pause * 2)) {
    signal.throwIfAborted()
    try {
      return socket.send(message)
    } catch (error) {
      if (hasCode(error, 'EMSGSIZE')) return socket.sendFile(message)
      if (!hasCode(error, 'EAGAIN')) throw error
    }
    await sleep(pause, undefined, { signal })
  }
}

const openUnixgram = (path: string): Wire => {
  const socket = new UnixDatagram(path)
  return {
    send: async (messages, signal) => {
      for (const message of messages) await sendPatiently(socket, message, signal)
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  }
}

const localSockets = ['/dev/log', '/var/run/syslog', '/var/run/log']

const openLocal = async (options: WireOptions): Promise<Wire> => {
  for (const path of localSockets)
    for (const kind of ['unixgram', 'unix'] as const)
      try {
        return await openWire({ kind, path }, { ...options, onLost: () => {} })
      } catch {
        options.signal.throwIfAborted()
      }
  throw unavailable('Unix syslog delivery error')
}

/** Errors: whatever the connecting says. */
export const openWire = async (target: Target, options: WireOptions): Promise<Wire> => {
  if (target.kind === 'udp') return openUdp(target, options)
  if (target.kind === 'unixgram') return openUnixgram(target.path)
  if (target.kind === 'own') return target.open(options)
  if (target.kind === 'local-syslog') return openLocal(options)
  return openStream(target, options)
}
