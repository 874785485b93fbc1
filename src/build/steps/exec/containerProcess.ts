import { Socket } from 'node:net'
import { BerthError, hasCode, messageOf } from '../../../core/errors.ts'
import { closeDescriptor, duplicateDescriptor, socketPair } from '../../../linux/descriptors.ts'
import { type StartFailure, startFailure } from '../../../runtime/errors.ts'
import type { ExitRecord, MonitorClient } from '../../../runtime/types.ts'
import type { ProcessStreams, Running } from './launch.ts'
import { unframe } from './output.ts'

/** The runtime refused to begin a process: 127 where there is no such program, 126 where it cannot be run, 128 else. */
export class ProcessRefused extends BerthError {
  readonly exitCode: number

  constructor({ exitCode, message }: StartFailure) {
    super('process-refused', 400, message)
    this.exitCode = exitCode
  }
}

export interface ProcessEnd {
  /** 0 to 255; 128+n for a signal. */
  exitCode: number
  /** Where the code alone does not say it. */
  error?: string
}

/** What a process wrote to its standard output (1), as a terminal's all is, or standard error (2). */
export interface ProcessOutput {
  fd: 1 | 2
  bytes: Uint8Array
}

export interface ProcessParts {
  streams: ProcessStreams & { stdout: boolean; stderr: boolean }
  program: string
  /** Ends it, and what is to end with it. */
  kill(): void
}

const endOf = ({ phase, exitCode, error, oomKilled }: ExitRecord, program: string): ProcessEnd => {
  if (phase === 'failed') {
    const failure = startFailure(error, program)
    return { exitCode: failure.exitCode, error: failure.message }
  }
  return oomKilled ? { exitCode, error: 'cannot allocate memory' } : { exitCode }
}

/** Bytes of either stream, none read before the last ones were taken. */
async function* readOutput(socket: Socket, terminal: boolean): AsyncGenerator<ProcessOutput> {
  const pieces: ProcessOutput[] = []
  const take = unframe((stream, bytes) => pieces.push({ fd: stream === 'stderr' ? 2 : 1, bytes }))
  try {
    for await (const bytes of socket as AsyncIterable<Buffer>) {
      if (terminal) yield { fd: 1, bytes }
      else take(bytes)
      yield* pieces.splice(0)
    }
  } catch (error) {
    // Of one that was given up nothing more is to come.
    if (!hasCode(error, 'ECONNRESET') && !hasCode(error, 'ERR_STREAM_PREMATURE_CLOSE')) throw error
  }
}

/**
 * A process of a container that a client attends, from its start on. Its input and its output are held back as
 * each side takes them. In and out are two sockets on one connection: that the process reads no more is seen
 * by the one, and takes nothing from what the other has still to read.
 */
export class ContainerProcess {
  readonly ended: Promise<ProcessEnd>
  readonly #monitor: MonitorClient
  readonly #parts: ProcessParts
  readonly #reader: Socket
  readonly #writer: Socket
  #isOver = false

  constructor({ monitor, exited }: Running, connection: number, parts: ProcessParts) {
    this.#monitor = monitor
    this.#parts = parts
    this.#writer = new Socket({ fd: duplicateDescriptor(connection), readable: false, writable: true })
    this.#reader = new Socket({ fd: connection, readable: true, writable: false })
    this.#reader.pause()
    for (const socket of [this.#reader, this.#writer]) socket.on('error', () => socket.destroy())
    this.ended = exited
      .then(
        record => endOf(record, parts.program),
        (error: unknown) => ({ exitCode: 255, error: messageOf(error) }),
      )
      .finally(() => {
        this.#isOver = true
        this.#writer.destroy()
      })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get pid(): number {
    return this.#isOver ? 0 : this.#monitor.status.pid
  }

  /** To be read once, to its end, which comes when all has been read. */
  output(): AsyncIterable<ProcessOutput> {
    return readOutput(this.#reader, this.#parts.streams.terminal)
  }

  /** Settles when more may come. What nobody reads any more is dropped. */
  async write(bytes: Uint8Array): Promise<void> {
    const writer = this.#writer
    if (writer.destroyed || writer.writableEnded || writer.write(bytes)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    writer.once('drain', resolve).once('close', resolve)
    await promise
    writer.off('drain', resolve).off('close', resolve)
  }

  endInput(): void {
    this.#writer.end()
  }

  async resize(columns: number, rows: number): Promise<void> {
    if (!this.#isOver && this.#parts.streams.terminal) await this.#monitor.resize(columns, rows)
  }

  /** One that has ended hears no signal. */
  signal(number: number): void {
    const { pid } = this
    if (pid <= 0) return
    try {
      process.kill(pid, number)
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }

  /** Ends it; nobody hears of what it still writes. */
  kill(): void {
    this.abandon()
    if (!this.#isOver) this.#parts.kill()
  }

  abandon(): void {
    this.#reader.destroy()
    this.#writer.destroy()
  }
}

const attached = async (running: Running, parts: ProcessParts): Promise<ContainerProcess> => {
  const [mine, theirs] = socketPair()
  const attending = new ContainerProcess(running, mine, parts)
  const { streams } = parts
  try {
    await running.monitor.attach({
      fd: theirs,
      stdin: streams.stdin,
      stdout: streams.stdout,
      stderr: streams.stderr,
      multiplexed: !streams.terminal,
      pending: Buffer.alloc(0),
      detachKeys: Buffer.alloc(0),
    })
    return attending
  } catch (error) {
    attending.abandon()
    throw error
  } finally {
    closeDescriptor(theirs)
  }
}

/** Begins what a monitor was launched for. Errors: `ProcessRefused`. */
export const startProcess = async (running: Running, parts: ProcessParts): Promise<ContainerProcess> => {
  const started = await attached(running, parts)
  try {
    const { phase, exit } = await running.monitor.start()
    if (phase === 'failed') throw new ProcessRefused(startFailure(exit?.error ?? '', parts.program))
    return started
  } catch (error) {
    started.abandon()
    if (hasCode(error, 'monitor-refused'))
      throw new ProcessRefused(startFailure(messageOf(error), parts.program))
    throw error
  }
}
