import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { type CallOptions, type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { serveOver } from '../../src/build/session/testing/client.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { Control } from '../../src/wire/buildkit/control_pb.ts'
import {
  type ExecMessage,
  type ExecMessageSchema,
  type ExitMessage,
  type InitMessageSchema,
  LLBBridge,
  type NewContainerRequestSchema,
} from '../../src/wire/buildkit/gateway_pb.ts'
import { Health, HealthCheckResponse_ServingStatus } from '../../src/wire/buildkit/health_pb.ts'
import { type Definition, DefinitionSchema, OpSchema } from '../../src/wire/buildkit/ops_pb.ts'
import { Secrets } from '../../src/wire/buildkit/secrets_pb.ts'
import type { TestDaemon } from './daemon.ts'

/** A client that leads a build itself, as debuggers do: it has results made, and runs things in them. */

const imageDefinition = (reference: string): Definition => {
  const bytes = toBinary(
    OpSchema,
    create(OpSchema, {
      op: { case: 'source', value: { identifier: `docker-image://docker.io/library/${reference}` } },
    }),
  )
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest: digestOf(bytes) }] }))
  return create(DefinitionSchema, { def: [bytes, last] })
}

const openSession = (daemon: TestDaemon, id: string, secrets: Record<string, string>): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const headers = {
      ...{ Host: 'docker', Connection: 'Upgrade', Upgrade: 'h2c' },
      'X-Docker-Expose-Session-Uuid': id,
      'X-Docker-Expose-Session-Grpc-Method': `/${Secrets.typeName}/GetSecret`,
    }
    const asked = request({ socketPath: daemon.socket, method: 'POST', path: '/session', headers })
    asked.once('error', reject)
    asked.once('upgrade', (_response, upgraded, ahead) => {
      const socket = upgraded as Socket
      socket.unshift(ahead)
      serveOver(socket, router => {
        router.service(Health, { check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }) })
        router.service(Secrets, {
          getSecret: ({ id: name }) => {
            const value = secrets[name]
            if (value === undefined) throw new ConnectError(`secret ${name}: not found`, Code.NotFound)
            return { data: Buffer.from(value) }
          },
        })
      })
      resolve(socket)
    })
    asked.end()
  })

type Sent = MessageInitShape<typeof ExecMessageSchema>

/** What is sent on the one stream of all processes. */
class Outbox {
  readonly #items: Sent[] = []
  #isOver = false
  #wake = (): void => {}

  /** Messages that were not taken yet. */
  get size(): number {
    return this.#items.length
  }

  put(message: Sent): void {
    this.#items.push(message)
    this.#wake()
  }

  end(): void {
    this.#isOver = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Sent> {
    for (;;) {
      const next = this.#items.shift()
      if (next) yield next
      else if (this.#isOver) return
      else await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }
}

/** A process as its client knows it: all that came, in order. */
export class LedProcess {
  readonly #id: string
  readonly #outbox: Outbox
  readonly #done = Promise.withResolvers<void>()
  readonly #heard: (() => void)[] = []
  readonly cases: string[] = []
  stdout = ''
  stderr = ''
  /** Bytes of both. */
  received = 0
  exit: ExitMessage | undefined

  constructor(id: string, outbox: Outbox) {
    this.#id = id
    this.#outbox = outbox
    this.#done.promise.catch(() => {})
  }

  hear({ input }: ExecMessage): void {
    this.cases.push(
      input.case === 'file' ? `${input.value.eof ? 'eof' : 'data'} ${input.value.fd}` : `${input.case}`,
    )
    if (input.case === 'file') {
      this.received += input.value.data.length
      // The text of a large output is not kept.
      if (this.received < 1 << 20) {
        const text = Buffer.from(input.value.data).toString()
        if (input.value.fd === 1) this.stdout += text
        else this.stderr += text
      }
    }
    if (input.case === 'exit') this.exit = input.value
    if (input.case === 'done') this.#done.resolve()
    for (const look of this.#heard.splice(0)) look()
  }

  fail(error: unknown): void {
    this.#done.reject(error)
    for (const look of this.#heard.splice(0)) look()
  }

  /** Settles when something holds of what came; rejects where no more comes. */
  async until(holds: (process: this) => boolean): Promise<void> {
    while (!holds(this)) {
      const next = new Promise<void>(resolve => this.#heard.push(resolve))
      await Promise.race([next, this.#done.promise.then(() => next)])
    }
  }

  async done(): Promise<this> {
    await this.#done.promise
    return this
  }

  send(input: Sent['input']): void {
    this.#outbox.put({ processId: this.#id, ...(input ? { input } : {}) })
  }

  write(text: string | Uint8Array): void {
    this.send({ case: 'file', value: { fd: 0, data: Buffer.from(text) } })
  }

  endInput(): void {
    this.send({ case: 'file', value: { fd: 0, eof: true } })
  }
}

type Init = Omit<MessageInitShape<typeof InitMessageSchema>, 'containerId' | 'meta' | '$typeName'> & {
  env?: string[]
  cwd?: string
  user?: string
}

export class LedBuild implements AsyncDisposable {
  readonly bridge: Client<typeof LLBBridge>
  readonly call: CallOptions
  /** What the build answered; rejects as it does. */
  readonly solved: Promise<unknown>
  readonly #sockets: Socket[]
  readonly #sessions: Http2SessionManager
  readonly outbox = new Outbox()
  readonly #processes = new Map<string, LedProcess>()
  #stream: AsyncIterator<ExecMessage> | undefined
  #first: Promise<IteratorResult<ExecMessage>> | undefined
  #isReading = false
  #count = 0

  constructor(parts: {
    bridge: Client<typeof LLBBridge>
    ref: string
    solved: Promise<unknown>
    sockets: Socket[]
    sessions: Http2SessionManager
  }) {
    this.bridge = parts.bridge
    this.call = { headers: { 'buildkit-controlapi-buildid': parts.ref } }
    this.solved = parts.solved
    this.solved.catch(() => {})
    this.#sockets = parts.sockets
    this.#sessions = parts.sessions
  }

  /** The ref of an image as a result. */
  async image(reference: string): Promise<string> {
    const definition = imageDefinition(reference)
    const { result } = await this.bridge.solve({ definition, allowResultReturn: true }, this.call)
    return result?.result.case === 'ref' ? result.result.value.id : ''
  }

  async container(
    id: string,
    request: Omit<MessageInitShape<typeof NewContainerRequestSchema>, '$typeName'>,
  ): Promise<void> {
    await this.bridge.newContainer({ containerId: id, ...request }, this.call)
  }

  async release(containerId: string): Promise<void> {
    await this.bridge.releaseContainer({ containerId }, this.call)
  }

  /** Begins a process, which hears nothing before `read`. */
  start(
    containerId: string,
    args: string[],
    { env = [], cwd = '', user = '', ...init }: Init = {},
  ): LedProcess {
    const id = `process-${this.#count++}`
    const process = new LedProcess(id, this.outbox)
    this.#processes.set(id, process)
    const meta = { args, env, cwd, user }
    process.send({ case: 'init', value: { fds: [0, 1, 2], ...init, containerId, meta } })
    return process
  }

  run(containerId: string, script: string, init?: Init): Promise<LedProcess> {
    this.read()
    return this.start(containerId, ['/bin/sh', '-c', script], init).done()
  }

  /** Opens the stream, of which no more than the first message is read until `read`. */
  open(options: CallOptions = {}): void {
    if (this.#stream) return
    this.#stream = this.bridge.execProcess(this.outbox, { ...this.call, ...options })[Symbol.asyncIterator]()
    this.#first = this.#stream.next()
    this.#first.catch(() => {})
  }

  read(): void {
    if (this.#isReading) return
    this.#isReading = true
    this.open()
    void this.#readAll().catch((error: unknown) => {
      for (const process of this.#processes.values()) process.fail(error)
    })
  }

  async #readAll(): Promise<void> {
    for (let next = await this.#first; next && !next.done; next = await this.#stream?.next())
      this.#processes.get(next.value.processId)?.hear(next.value)
    throw new Error('the stream of the processes is at its end')
  }

  /** The client sends no more on the stream of its processes. */
  endStream(): void {
    this.outbox.end()
  }

  /** As a client that is killed. */
  leave(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async end(): Promise<void> {
    await this.bridge.return({ result: {} }, this.call)
    await this.solved
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
    this.#sessions.abort()
    await this.solved.catch(() => {})
  }
}

export const leadBuild = async (
  daemon: TestDaemon,
  { entitlements = [], secrets = {} }: { entitlements?: string[]; secrets?: Record<string, string> } = {},
): Promise<LedBuild> => {
  const [ref, session] = [randomUUID(), randomUUID()]
  const sockets = [await openSession(daemon, session, secrets), connect(daemon.socket)]
  const sessions = new Http2SessionManager(
    'http://localhost',
    {},
    { createConnection: () => sockets[1] as Socket },
  )
  const transport = createGrpcTransport({ baseUrl: 'http://localhost', sessionManager: sessions })
  const solved = createClient(Control, transport).solve({ ref, session, entitlements })
  return new LedBuild({ bridge: createClient(LLBBridge, transport), ref, solved, sockets, sessions })
}
