import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import dgram from 'node:dgram'
import { decode, encode } from 'dns-packet'
import { until } from './shell.ts'

/** What it does with a question: gives one address, or nothing. */
type Manner = 'answers' | 'drops'

/** A name server of tests, in a process of its own within a network namespace, on port 53. */
export class NameServer implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  #said = ''

  private constructor(namespace: string, address: string, manner: Manner) {
    const command = [`--net=${namespace}`, process.execPath, import.meta.filename, address, manner]
    this.#child = spawn('nsenter', command)
    this.#child.stdout.on('data', chunk => {
      this.#said += chunk
    })
  }

  static async start(namespace: string, address: string, manner: Manner): Promise<NameServer> {
    const server = new NameServer(namespace, address, manner)
    await until('the name server was ready', () => server.#said.startsWith('ready\n'))
    return server
  }

  /** The names that it was asked for, in order. */
  get asked(): string[] {
    return this.#said.split('\n').slice(1, -1)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise(resolve => this.#child.once('close', resolve))
    this.#child.stdin.end()
    await ended
  }
}

/** Tells each question's name, and ends with its input. */
const serve = (address: string, manner: string): void => {
  const server = dgram.createSocket('udp4')
  server.on('message', (message, from) => {
    const { id = 0, questions = [] } = decode(message)
    const name = questions[0]?.name ?? ''
    process.stdout.write(`${name}\n`)
    if (manner === 'drops') return
    const answers = [{ type: 'A' as const, name, ttl: 60, data: '198.51.100.7' }]
    server.send(encode({ type: 'response', id, questions, answers }), from.port, from.address)
  })
  server.bind(53, address, () => process.stdout.write('ready\n'))
  process.stdin.on('end', () => process.exit()).resume()
}

if (import.meta.main) serve(process.argv[2] ?? '', process.argv[3] ?? '')
