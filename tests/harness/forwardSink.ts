import net from 'node:net'
import { type Beside, serveBeside, startBeside } from './beside.ts'

/** A server of Fluentd's forward protocol in a process of its own within a network namespace: it tells what came. */

export interface ForwardSinkOptions {
  /** A port of loopback, or a path. */
  address: number | string
  /** Acknowledges nothing. */
  silent?: boolean
}

export interface Forwarded {
  tag: string
  /** Seconds, or for EventTime `<seconds>.<nanoseconds>`. */
  entries: [time: number | string, record: Record<string, string>][]
  option: { size?: number; chunk?: string }
}

type Value = string | number | Value[] | { [key: string]: Value }

/** MessagePack as far as the protocol needs it; throws a RangeError where more bytes are to come. */
class Reader {
  readonly #bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  #number(width: number): number {
    const value = this.#bytes.readUIntBE(this.at, width)
    this.at += width
    return value
  }

  #text(length: number): string {
    if (this.at + length > this.#bytes.length) throw new RangeError('more is to come')
    this.at += length
    return this.#bytes.toString('utf8', this.at - length, this.at)
  }

  #list(length: number): Value[] {
    return Array.from({ length }, () => this.read())
  }

  #map(length: number): Value {
    return Object.fromEntries(Array.from({ length }, () => [String(this.read()), this.read()]))
  }

  #eventTime(): string {
    this.#number(1)
    return `${this.#number(4)}.${String(this.#number(4)).padStart(9, '0')}`
  }

  read(): Value {
    const code = this.#number(1)
    if (code < 0x80) return code
    if (code < 0x90) return this.#map(code & 0xf)
    if (code < 0xa0) return this.#list(code & 0xf)
    if (code < 0xc0) return this.#text(code & 0x1f)
    const width = { 204: 1, 205: 2, 206: 4, 217: 1, 218: 2, 219: 4, 220: 2, 221: 4, 222: 2 }[code]
    if (code === 0xd7) return this.#eventTime()
    if (width === undefined) throw new Error(`no MessagePack: ${code.toString(16)} at ${this.at}`)
    const value = this.#number(width)
    if (code < 0xd0) return value
    if (code < 0xdc) return this.#text(value)
    return code < 0xde ? this.#list(value) : this.#map(value)
  }
}

export class ForwardSink implements AsyncDisposable {
  readonly #beside: Beside
  readonly received: Forwarded[] = []

  private constructor(beside: Beside) {
    this.#beside = beside
    beside.lines.on('line', line => this.received.push(JSON.parse(line) as Forwarded))
  }

  static async start(namespace: string, options: ForwardSinkOptions): Promise<ForwardSink> {
    return new ForwardSink(await startBeside(namespace, import.meta.filename, JSON.stringify(options)))
  }

  /** Texts of all records, in the order in which they came. */
  get logs(): string[] {
    return this.received.flatMap(({ entries }) => entries.map(([, { log = '' }]) => log))
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#beside[Symbol.asyncDispose]()
  }
}

/** `{"ack": chunk}` */
const ackOf = (chunk: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x81, 0xa3]),
    Buffer.from('ack'),
    Buffer.from([0xa0 | chunk.length]),
    Buffer.from(chunk),
  ])

const serve = ({ address, silent = false }: ForwardSinkOptions): void => {
  const server = net.createServer(socket => {
    let rest = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', data => {
      rest = Buffer.concat([rest, Buffer.from(data)])
      for (;;) {
        const reader = new Reader(rest)
        try {
          const [tag, entries, option] = reader.read() as [string, Forwarded['entries'], Forwarded['option']]
          process.stdout.write(`${JSON.stringify({ tag, entries, option })}\n`)
          if (option.chunk && !silent) socket.write(ackOf(option.chunk))
        } catch (error) {
          if (error instanceof RangeError) return
          throw error
        }
        rest = rest.subarray(reader.at)
      }
    })
  })
  const ready = (): void => void serveBeside('ready')
  if (typeof address === 'number') server.listen(address, '127.0.0.1', ready)
  else server.listen(address, ready)
}

if (import.meta.main) serve(JSON.parse(process.argv[2] ?? '') as ForwardSinkOptions)
