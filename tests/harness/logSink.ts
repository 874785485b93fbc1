import { type ChildProcess, spawn } from 'node:child_process'
import dgram from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { createInterface } from 'node:readline'
import tls from 'node:tls'

/** `reads` nothing of `hangs`; `address` is a port or a path; `certificate` and `key` are files. */
export interface SinkOptions {
  kind: 'udp' | 'tcp' | 'tls' | 'unix' | 'unixgram'
  address: number | string
  certificate?: string
  key?: string
  /** Accepts, and reads nothing. */
  hangs?: boolean
}

/** The flags of a container, or of the daemon, for a log driver with options. */
export const logFlags = (driver: string, options: Record<string, string> = {}): string[] => [
  `--log-driver=${driver}`,
  ...Object.entries(options).flatMap(([key, value]) => ['--log-opt', `${key}=${value}`]),
]

/** Takes what log drivers send, in a process of its own within a network namespace. */
export class LogSink implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  /** Datagrams, or chunks of all connections, in the order in which they came. */
  readonly received: Buffer[] = []

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#ended = once(child, 'close')
  }

  static async start(namespace: string, options: SinkOptions): Promise<LogSink> {
    const command = [`--net=${namespace}`, process.execPath, import.meta.filename, JSON.stringify(options)]
    const python = [`--net=${namespace}`, '/usr/bin/python3', '-u', '-c', datagrams, String(options.address)]
    const child = spawn('nsenter', options.kind === 'unixgram' ? python : command, {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    if (!child.stdout) throw new Error('the log sink has no output')
    const sink = new LogSink(child)
    const lines = createInterface(child.stdout)
    // Before the wait: the first output can come in one piece with `ready`, which is no base64.
    lines.on('line', line => {
      if (line !== 'ready') sink.received.push(Buffer.from(line, 'base64'))
    })
    await once(lines, 'line')
    return sink
  }

  get text(): string {
    return Buffer.concat(this.received).toString()
  }

  /** As the end of its host: nothing that it has not told is told any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}

/** Node has no unix datagrams. */
const datagrams = `
import base64, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('ready')
while True:
    data = s.recv(1 << 20)
    print(base64.b64encode(data).decode())
`

const tell = (bytes: Buffer): void => {
  process.stdout.write(`${bytes.toString('base64')}\n`)
}

const serve = ({ kind, address, certificate, key, hangs }: SinkOptions): void => {
  const ready = (): boolean => process.stdout.write('ready\n')
  if (kind === 'udp') {
    dgram
      .createSocket('udp4')
      .on('message', tell)
      .bind(Number(address), '127.0.0.1', () => ready())
    return
  }
  const take = (socket: net.Socket): void => {
    socket.on('error', () => {})
    if (hangs) return
    socket.on('data', tell)
  }
  const server =
    kind === 'tls'
      ? tls.createServer({ cert: readFileSync(certificate ?? ''), key: readFileSync(key ?? '') }, take)
      : net.createServer(take)
  if (kind === 'unix') server.listen(String(address), ready)
  else server.listen(Number(address), '127.0.0.1', ready)
}

if (import.meta.main) serve(JSON.parse(process.argv[2] ?? '') as SinkOptions)
