import { closeSync, constants, openSync } from 'node:fs'
import { asBerthError, BerthError, internal, unavailable } from '../core/errors.ts'
import { connectUnix, duplicateDescriptor, memoryFile } from '../linux/descriptors.ts'
import { MonitorChannel } from './monitorChannel.ts'
import {
  decodeHello,
  encodeFrame,
  encodeHello,
  type Frame,
  FrameDecoder,
  type Hello,
  replyType,
  requestType,
} from './monitorFrames.ts'
import { decodeExitRecord, decodeStatus } from './monitorRecord.ts'
import { encodeAttach, encodeResize } from './monitorRequest.ts'
import type { AttachRequest, ExitRecord, MonitorClient, MonitorEvents, MonitorStatus } from './types.ts'

interface Pending {
  resolve(frame: Frame): void
  reject(error: Error): void
}

/** A monitor answers hello within microseconds; this only guards against one that is stopped. */
const helloDeadline = 10_000

/** What fits a request beside the stream's number. */
const sayMax = 1000

/** The protocol's version from which on a monitor makes others. */
const forkVersion = 3

/** The one from which on it tells how its log grows. */
const growthVersion = 4

const lost = (id: string): BerthError =>
  unavailable(
    `the connection to the monitor of ${id} ended before it answered; connect again, or read its exit record`,
  )

class MonitorConnection implements MonitorClient {
  readonly #channel: MonitorChannel
  readonly #decoder = new FrameDecoder()
  readonly #pending = new Map<number, Pending>()
  readonly #events: Partial<MonitorEvents>
  readonly #ready = Promise.withResolvers<void>()
  #hello: Hello | undefined
  #status: MonitorStatus | undefined
  #problem: Error | undefined
  #tag = 0

  constructor(fd: number, events: Partial<MonitorEvents>) {
    this.#events = events
    this.#channel = new MonitorChannel(fd)
    this.#channel.socket.on('data', chunk => this.#receive(Buffer.from(chunk)))
    this.#channel.socket.on('error', error => {
      this.#problem ??= error
    })
    this.#channel.socket.on('close', () => this.#closed())
  }

  get id(): string {
    return this.#hello?.id ?? ''
  }

  get pid(): number {
    return this.#hello?.pid ?? 0
  }

  get status(): MonitorStatus {
    return this.#status ?? { phase: 'new', pid: 0, startedAt: 0n, oomKilled: false }
  }

  /** Resolves once the monitor has told where things stand. */
  async greet(): Promise<void> {
    const timer = setTimeout(() => {
      this.#problem = unavailable('a monitor did not answer within 10 s; is its process stopped?')
      this.close()
    }, helloDeadline)
    try {
      this.#channel.send(encodeHello()).catch(() => {})
      await this.#ready.promise
    } finally {
      clearTimeout(timer)
    }
  }

  async start(): Promise<MonitorStatus> {
    return decodeStatus((await this.#request(requestType.start)).payload)
  }

  async attach(request: AttachRequest): Promise<void> {
    const fds = [duplicateDescriptor(request.fd)]
    if (request.pending.length > 0) fds.push(memoryFile('berth-stdin', request.pending))
    await this.#request(requestType.attach, encodeAttach(request, this.#hello?.version ?? 1), fds)
  }

  async wait(fd: number, condition: 'exit' | 'removed'): Promise<void> {
    const payload = Buffer.from([condition === 'removed' ? 1 : 0])
    await this.#request(requestType.wait, payload, [duplicateDescriptor(fd)])
  }

  async removed(): Promise<void> {
    await this.#request(requestType.removed)
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#request(requestType.resize, encodeResize(columns, rows))
  }

  async closeStdin(): Promise<void> {
    await this.#request(requestType.closeStdin)
  }

  async say(text: string): Promise<void> {
    const bytes = Buffer.from(text).subarray(0, sayMax)
    await this.#request(requestType.say, Buffer.concat([Buffer.from([0]), bytes]))
  }

  get canFork(): boolean {
    return (this.#hello?.version ?? 0) >= forkVersion
  }

  async fork(descriptors: { spec: number; control: number; program?: number | undefined }): Promise<void> {
    const { spec, control, program } = descriptors
    const [flags, fds] = program === undefined ? [0, [spec, control]] : [1, [spec, control, program]]
    await this.#request(requestType.fork, Buffer.from([flags]), fds)
  }

  get tellsGrowth(): boolean {
    return (this.#hello?.version ?? 0) >= growthVersion
  }

  async rotateLog(): Promise<void> {
    await this.#request(requestType.rotate)
  }

  async release(): Promise<void> {
    await this.#request(requestType.release)
  }

  close(): void {
    this.#channel.socket.destroy()
  }

  /** Sends a request and waits for its answer; descriptors are the channel's from the call on. */
  #request(type: number, payload?: Uint8Array, fds: number[] = []): Promise<Frame> {
    do this.#tag = (this.#tag % 0xffff) + 1
    while (this.#pending.has(this.#tag))
    const tag = this.#tag
    return new Promise((resolve, reject) => {
      this.#pending.set(tag, { resolve, reject })
      this.#channel.send(encodeFrame(payload ? { type, tag, payload } : { type, tag }), fds).catch(error => {
        this.#pending.delete(tag)
        reject(error)
      })
    })
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#handle(frame)
    } catch (error) {
      this.#problem ??= asBerthError(error)
      this.close()
    }
  }

  #handle(frame: Frame): void {
    if (!this.#hello) this.#greeted(frame)
    else if (frame.tag !== 0) this.#answered(frame)
    else this.#told(frame)
  }

  #greeted(frame: Frame): void {
    if (frame.type === replyType.error) throw internal(frame.payload.toString('utf8'))
    if (frame.type !== replyType.hello) throw internal('a monitor spoke before it said hello')
    this.#hello = decodeHello(frame.payload)
  }

  #answered(frame: Frame): void {
    const pending = this.#pending.get(frame.tag)
    this.#pending.delete(frame.tag)
    if (frame.type === replyType.status) this.#status = decodeStatus(frame.payload)
    if (frame.type === replyType.error)
      pending?.reject(new BerthError('monitor-refused', 500, frame.payload.toString('utf8')))
    else pending?.resolve(frame)
  }

  #told(frame: Frame): void {
    switch (frame.type) {
      case replyType.status:
        this.#status = decodeStatus(frame.payload)
        this.#ready.resolve()
        break
      case replyType.started:
        this.#status = decodeStatus(frame.payload)
        this.#events.started?.(this.status)
        break
      case replyType.ended:
        this.#events.ended?.()
        break
      case replyType.exited:
        this.#exited(decodeExitRecord(frame.payload))
        break
      case replyType.oom:
        this.#status = { ...this.status, oomKilled: true }
        this.#events.oom?.()
        break
      case replyType.clientGone:
        this.#events.clientGone?.(frame.payload[0] === 1)
        break
      case replyType.rotated:
        this.#events.rotated?.(Number(frame.payload.readBigUInt64LE(0)))
        break
      case replyType.logGrown:
        this.#events.logGrown?.(Number(frame.payload.readBigUInt64LE(0)))
        break
      case replyType.error:
        throw internal(frame.payload.toString('utf8'))
    }
  }

  #exited(record: ExitRecord): void {
    this.#status = {
      phase: record.phase,
      pid: record.pid,
      startedAt: record.startedAt,
      oomKilled: record.oomKilled,
      exit: record,
    }
    this.#events.exited?.(record)
  }

  #closed(): void {
    const error = this.#problem ?? lost(this.id)
    this.#ready.reject(error)
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
    if (this.#status) this.#events.closed?.()
  }
}

/**
 * Speaks to a monitor over a connected socket, which it owns from now on.
 * Rejects with what the monitor said where it could not be born, and
 * `unavailable` where it is gone.
 */
export const openMonitor = async (
  fd: number,
  events: Partial<MonitorEvents> = {},
): Promise<MonitorClient> => {
  const connection = new MonitorConnection(fd, events)
  try {
    await connection.greet()
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

/**
 * Connects to the monitor of a run directory. Rejects with ENOENT or
 * ECONNREFUSED (a SystemError's code) where none is there any more: the exit
 * record then tells what came of it, or the monitor was lost.
 */
export const connectMonitor = async (
  directory: string,
  events: Partial<MonitorEvents> = {},
): Promise<MonitorClient> => {
  /* By way of a descriptor, since a socket's path has at most 107 bytes. */
  const folder = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  let fd: number
  try {
    fd = connectUnix(`/proc/self/fd/${folder}/control.sock`)
  } finally {
    closeSync(folder)
  }
  return openMonitor(fd, events)
}

export { readExitRecord } from './monitorRecord.ts'
