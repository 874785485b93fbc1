import { open } from 'node:fs'
import net from 'node:net'
import { promisify } from 'node:util'
import { PluginServer } from './pluginServer.ts'

/** An entry as a plugin reads it. */
export interface PluginEntry {
  source: string
  time: bigint
  line: string
  partial?: { id: string; ordinal: number; last: boolean }
}

const varint = (bytes: Buffer, at: number): { value: bigint; next: number } => {
  let value = 0n
  for (let shift = 0n, next = at; ; shift += 7n, next++) {
    const byte = BigInt(bytes[next] ?? 0)
    value |= (byte & 0x7fn) << shift
    if (byte < 0x80n) return { value, next: next + 1 }
  }
}

/** Fields of a protobuf message by their numbers. */
const fieldsOf = (bytes: Buffer): Map<number, bigint | Buffer> => {
  const fields = new Map<number, bigint | Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const key = varint(bytes, at)
    const { value, next } = varint(bytes, key.next)
    const isBytes = (key.value & 7n) === 2n
    const end = isBytes ? next + Number(value) : next
    fields.set(Number(key.value >> 3n), isBytes ? bytes.subarray(next, end) : value)
    at = end
  }
  return fields
}

const entryOf = (bytes: Buffer): PluginEntry => {
  const fields = fieldsOf(bytes)
  const part = fields.get(5)
  const parts = part instanceof Buffer ? fieldsOf(part) : undefined
  return {
    source: String(fields.get(1)),
    time: fields.get(2) as bigint,
    line: String(fields.get(3) ?? ''),
    ...(parts
      ? { partial: { id: String(parts.get(2)), ordinal: Number(parts.get(3)), last: parts.get(1) === 1n } }
      : {}),
  }
}

/** A log plugin: reads each FIFO that it is given to its end, as those of Docker's kit do. */
export class LogPlugin implements AsyncDisposable {
  readonly entries: PluginEntry[] = []
  readonly #sockets = new Set<net.Socket>()
  readonly server: PluginServer

  private constructor(server: PluginServer) {
    this.server = server
  }

  static async start(folder: string, name: string): Promise<LogPlugin> {
    const box: { plugin?: LogPlugin } = {}
    const server = await PluginServer.start({ folder, name }, ['LogDriver'], {
      'LogDriver.StartLogging': async ({ File }) => {
        // Waits for the writer, before it answers.
        const fd = await promisify(open)(File, 'r')
        box.plugin?.read(new net.Socket({ fd, readable: true }))
        return {}
      },
      'LogDriver.StopLogging': () => ({}),
      'LogDriver.Capabilities': () => ({ Cap: { ReadLogs: true } }),
    })
    box.plugin = new LogPlugin(server)
    return box.plugin
  }

  get lines(): string[] {
    return this.entries.map(({ line }) => line)
  }

  read(socket: net.Socket): void {
    this.#sockets.add(socket)
    let rest = Buffer.alloc(0)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
        const end = 4 + rest.readUInt32BE()
        this.entries.push(entryOf(rest.subarray(4, end)))
        rest = rest.subarray(end)
      }
    })
  }

  /** Reads nothing more, and goes on living. */
  hang(): void {
    for (const socket of this.#sockets) socket.pause()
  }

  async die(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await this.server.die()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.die()
    await this.server[Symbol.asyncDispose]()
  }
}
