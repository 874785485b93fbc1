import dgram from 'node:dgram'
import net from 'node:net'
import { unavailable } from '../../core/errors.ts'
import { outgoing } from './compose.ts'
import { Framing, framed } from './framing.ts'
import { type Answer, parseAnswer, rcode } from './message.ts'
import { parseUpstream, type UpstreamAddress } from './upstreams.ts'

/** One question to one upstream server, from the namespace of this process. */

export type Transport = 'udp' | 'tcp'

export interface Asked {
  /** As `foldCase` gives it. */
  question: Buffer
  /** RD, AD, CD. */
  flags: number
  dnssec: boolean
}

/** Gives the server's answer, or rejects where there is none: refused, cut, aborted. */
export type Exchange = (
  upstream: string,
  asked: Asked,
  how: { transport: Transport; signal: AbortSignal },
) => Promise<Answer>

/** A datagram may get lost: the same question goes again at these times, from the same port. */
const resendMillis = [1000, 2500]

/** Node's own look-up of a literal goes through `getaddrinfo`, which waits for a thread. */
const literal = (
  address: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void => done(null, address, net.isIP(address))

const overUdp = (to: UpstreamAddress, asked: Asked, how: { edns: boolean; signal: AbortSignal }) =>
  new Promise<Answer>((resolve, reject) => {
    how.signal.throwIfAborted()
    const { id, bytes } = outgoing(asked, how.edns)
    // A socket of its own for each question: its port is the kernel's random choice. Connected,
    // it hears nothing but that server, and what ICMP says of it.
    const socket = dgram.createSocket({ type: net.isIPv6(to.address) ? 'udp6' : 'udp4', lookup: literal })
    const timers: NodeJS.Timeout[] = []
    const finish = (settle: () => void): void => {
      for (const timer of timers.splice(0)) clearTimeout(timer)
      how.signal.removeEventListener('abort', abort)
      socket.removeAllListeners().on('error', () => {})
      socket.close()
      settle()
    }
    const fail = (error: unknown): void => finish(() => reject(error))
    const abort = (): void => fail(how.signal.reason)
    const send = (): void => socket.send(bytes, error => error && socket.emit('error', error))
    how.signal.addEventListener('abort', abort)
    socket.on('error', fail)
    socket.on('message', message => {
      const answer = parseAnswer(message, { id, question: asked.question })
      if (answer) finish(() => resolve(answer))
    })
    socket.on('connect', () => {
      send()
      for (const millis of resendMillis) timers.push(setTimeout(send, millis))
    })
    socket.connect(to.port, to.address)
  })

const overTcp = (to: UpstreamAddress, asked: Asked, how: { edns: boolean; signal: AbortSignal }) =>
  new Promise<Answer>((resolve, reject) => {
    const { id, bytes } = outgoing(asked, how.edns)
    const framing = new Framing()
    const socket = net.connect({ port: to.port, host: to.address, signal: how.signal })
    const finish = (settle: () => void): void => {
      socket.destroy()
      settle()
    }
    socket.on('error', error => finish(() => reject(error)))
    socket.on('close', () => reject(unavailable(`the name server ${to.address} closed the connection`)))
    socket.on('data', (chunk: Buffer) => {
      for (const message of framing.push(chunk)) {
        const answer = parseAnswer(message, { id, question: asked.question })
        if (answer) finish(() => resolve(answer))
      }
    })
    socket.write(framed(bytes))
  })

const send: Record<Transport, typeof overUdp> = { udp: overUdp, tcp: overTcp }

/** How long the rest of a truncated answer is waited for: less than who asked waits for any. */
const restMillis = 2000

/** Some old servers know no EDNS, and say so. */
const knowsNoEdns = ({ rcode: code, body }: Answer): boolean =>
  (code === rcode.formErr || code === rcode.notImp) && body.length === 0

/**
 * Asks over UDP, and over TCP what came truncated; if that fails, the truncated
 * answer is better than none.
 */
export const exchange: Exchange = async (upstream, asked, { transport, signal }) => {
  const to = parseUpstream(upstream)
  if (!to) throw unavailable(`the address of the name server is not valid: ${upstream}`)
  const first = await send[transport](to, asked, { edns: true, signal })
  const plain = knowsNoEdns(first)
  const answer = plain ? await send[transport](to, asked, { edns: false, signal }) : first
  if (!answer.truncated || transport === 'tcp') return answer
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(restMillis)])
    return await overTcp(to, asked, { edns: !plain, signal: limit })
  } catch {
    return answer
  }
}
