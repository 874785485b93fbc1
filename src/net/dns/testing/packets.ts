/**
 * DNS messages of tests, written and read by a library that knows nothing of
 * the code under test; and a server that answers as it is told.
 */
import dgram from 'node:dgram'
import net from 'node:net'
import packet, { type Answer, type DecodedPacket, type Packet, type RecordType } from 'dns-packet'

export type Decoded = DecodedPacket & { rcode: string }

export interface Asking {
  type?: string
  id?: number
  /** EDNS with this size. */
  size?: number
}

export const query = (name: string, { type = 'A', id = 7, size }: Asking = {}): Buffer => {
  const edns = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: size ?? 0,
    flags: 0,
    options: [],
  } as unknown as Answer
  return packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type: type as RecordType }],
    additionals: size === undefined ? [] : [edns],
  })
}

export const decode = (bytes: Buffer): Decoded => packet.decode(bytes) as Decoded

/** The data of an answer's records as texts. */
export const datas = (bytes: Buffer): string[] =>
  (decode(bytes).answers ?? []).map(answer => String('data' in answer ? answer.data : ''))

export type Reaction = Partial<Packet> & { rcode?: number; silent?: boolean; spoil?: (bytes: Buffer) => void }

export const address = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, data, ttl })

export const soa = (name: string, minimum: number): Answer => ({
  type: 'SOA',
  name,
  ttl: 3600,
  data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
})

export const reply = (message: Buffer, reaction: Reaction): Buffer => {
  const { id = 0, questions = [] } = packet.decode(message)
  const flags = (reaction.flags ?? 0) | packet.RECURSION_AVAILABLE | (reaction.rcode ?? 0)
  const { rcode: _, silent: __, spoil, ...sections } = reaction
  const bytes = packet.encode({ type: 'response', id, questions, ...sections, flags })
  spoil?.(bytes)
  return bytes
}

/** Plays an upstream server on a port of the kernel's choice, over UDP and TCP, and records what it is asked. */
export class Upstream implements AsyncDisposable {
  readonly asked: string[] = []
  readonly #udp = dgram.createSocket('udp4')
  readonly #tcp: net.Server
  port = 0

  readonly #streams: boolean

  constructor(
    react: (name: string, transport: 'udp' | 'tcp', message: Decoded) => Reaction[],
    options = { streams: true },
  ) {
    this.#streams = options.streams
    const answers = (message: Buffer, transport: 'udp' | 'tcp'): Buffer[] => {
      const decoded = decode(message)
      const name = decoded.questions?.[0]?.name ?? ''
      this.asked.push(`${transport} ${name}`)
      return react(name, transport, decoded)
        .filter(reaction => !reaction.silent)
        .map(reaction => reply(message, reaction))
    }
    this.#udp.on('message', (message, from) => {
      for (const bytes of answers(message, 'udp')) this.#udp.send(bytes, from.port, from.address)
    })
    this.#tcp = net.createServer(socket => {
      socket.on('error', () => {})
      socket.on('data', chunk => {
        const [bytes = Buffer.alloc(0)] = answers(Buffer.from(chunk).subarray(2), 'tcp')
        socket.write(Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]))
      })
    })
  }

  async start(): Promise<string> {
    await new Promise<void>(resolve => this.#udp.bind(0, '127.0.0.1', resolve))
    this.port = this.#udp.address().port
    if (this.#streams) await new Promise<void>(resolve => this.#tcp.listen(this.port, '127.0.0.1', resolve))
    return `127.0.0.1:${this.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>(resolve => this.#udp.close(() => resolve()))
    this.#tcp.close()
  }
}
