import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { type ContainerProcess, ProcessRefused } from '../../build/steps/exec/containerProcess.ts'
import { messageOf } from '../../core/errors.ts'
import { RecentlyUsed } from '../../core/recentlyUsed.ts'
import { signalNumber } from '../../linux/signals.ts'
import {
  type ExecMessage,
  ExecMessageSchema,
  type FdMessage,
  type InitMessage,
} from '../../wire/buildkit/gateway_pb.ts'
import { type Status, StatusSchema } from '../../wire/buildkit/status_pb.ts'
import type { BuildContainers } from './buildContainers.ts'
import { processRequest } from './containerMessages.ts'
import { Handoff } from './handoff.ts'

/**
 * The processes of a client's containers, all on one stream of messages (`ExecProcess`). Of each it hears that it
 * has started, what it writes, that each of its outputs is at its end, how it ended, and that nothing more comes.
 * One that could not be started has started and ended for it, since clients await nothing else.
 */

type Sent = NonNullable<MessageInitShape<typeof ExecMessageSchema>['input']>

/** How clients are told that no exit code is known (`UnknownExitStatus`). */
const unknownExit = 255

const failure = (error: unknown): { code: number; error: Status } => ({
  code: error instanceof ProcessRefused ? error.exitCode : unknownExit,
  error: create(
    StatusSchema,
    error instanceof ConnectError
      ? { code: error.code, message: error.rawMessage }
      : { code: Code.Unknown, message: messageOf(error) },
  ),
})

/** Messages for processes that have just ended may be under way: so many are remembered. */
const remembered = 1000

class ProcessStream {
  readonly outgoing = new Handoff<ExecMessage>()
  readonly #containers: BuildContainers
  /** Undefined where it could not be started. */
  readonly #open = new Map<string, Promise<ContainerProcess | undefined>>()
  readonly #ended = new RecentlyUsed<true>(remembered)
  #isRead = false

  constructor(containers: BuildContainers) {
    this.#containers = containers
  }

  /** Takes one message after another, none before the process of the last one had room for it. */
  async read(messages: AsyncIterable<ExecMessage>): Promise<void> {
    try {
      for await (const message of messages) await this.#take(message)
      this.#isRead = true
      this.#closeWhenDone()
    } catch (error) {
      this.outgoing.fail(error)
    }
  }

  /** Nobody is there for them any more. */
  kill(): void {
    for (const starting of this.#open.values()) void starting.then(process => process?.kill())
  }

  #closeWhenDone(): void {
    if (this.#isRead && this.#open.size === 0) this.outgoing.close()
  }

  async #take({ processId: id, input }: ExecMessage): Promise<void> {
    if (id === '') throw new ConnectError('ProcessID required', Code.InvalidArgument)
    if (input.case === 'init') return this.#init(id, input.value)
    const process = await this.#find(id)
    if (!process) return
    if (input.case === 'file') await this.#write(process, input.value)
    else if (input.case === 'resize') await process.resize(input.value.cols, input.value.rows)
    else if (input.case === 'signal') process.signal(signalOf(input.value.name))
  }

  /** Undefined for one that has ended. */
  async #find(id: string): Promise<ContainerProcess | undefined> {
    const found = this.#open.get(id)
    if (!found && !this.#ended.get(id))
      throw new ConnectError(`IO for process "${id}" not found`, Code.NotFound)
    return await found
  }

  async #write(process: ContainerProcess, { fd, data, eof }: FdMessage): Promise<void> {
    if (fd !== 0) throw new ConnectError(`fd ${fd} unavailable to write`, Code.OutOfRange)
    if (data.length > 0) await process.write(data)
    if (eof) process.endInput()
  }

  #init(id: string, init: InitMessage): void {
    if (this.#open.has(id)) throw new ConnectError(`Process ${id} already exists`, Code.AlreadyExists)
    const starting = this.#start(init)
    this.#open.set(
      id,
      starting.catch(() => undefined),
    )
    void this.#follow(id, init, starting).catch((error: unknown) => this.outgoing.fail(error))
  }

  async #start(init: InitMessage): Promise<ContainerProcess> {
    const { containerId: id } = init
    const container = await this.#containers.get(id).catch(() => {
      throw new ConnectError(`container "${id}" previously released or not created`, Code.NotFound)
    })
    return await container.start(processRequest(init))
  }

  async #follow(id: string, { fds }: InitMessage, starting: Promise<ContainerProcess>): Promise<void> {
    try {
      const process = await starting.catch((error: unknown) => failure(error))
      await this.#send(id, { case: 'started', value: {} })
      const ended = 'error' in process ? process : await this.#attend(id, process)
      for (const fd of fds) if (fd !== 0) await this.#send(id, { case: 'file', value: { fd, eof: true } })
      await this.#send(id, { case: 'exit', value: ended })
      await this.#send(id, { case: 'done', value: {} })
    } finally {
      this.#ended.set(id, true)
      this.#open.delete(id)
      this.#closeWhenDone()
    }
  }

  async #attend(id: string, process: ContainerProcess): Promise<{ code: number; error?: Status }> {
    for await (const { fd, bytes } of process.output())
      await this.#send(id, { case: 'file', value: { fd, data: bytes } })
    const { exitCode, error } = await process.ended
    if (exitCode === 0) return { code: 0 }
    return {
      code: exitCode,
      error: create(StatusSchema, { code: Code.Unknown, message: error ?? `exit code: ${exitCode}` }),
    }
  }

  async #send(id: string, input: Sent): Promise<void> {
    const message: MessageInitShape<typeof ExecMessageSchema> = { processId: id, input }
    await this.outgoing.send(create(ExecMessageSchema, message))
  }
}

const signalOf = (name: string): number => {
  try {
    return signalNumber(name)
  } catch {
    throw new ConnectError(`Unknown signal ${name}`, Code.InvalidArgument)
  }
}

/** Answers one client's messages; with the signal, or when nobody reads the answers, its processes end. */
export async function* processStream(
  containers: BuildContainers,
  messages: AsyncIterable<ExecMessage>,
  signal: AbortSignal,
): AsyncGenerator<ExecMessage> {
  const stream = new ProcessStream(containers)
  const end = (): void => stream.outgoing.fail(signal.reason)
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  void stream.read(messages)
  try {
    yield* stream.outgoing
  } finally {
    signal.removeEventListener('abort', end)
    stream.kill()
  }
}
