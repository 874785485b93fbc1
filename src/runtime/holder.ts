import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, unavailable } from '../core/errors.ts'
import { connectUnix } from '../linux/descriptors.ts'
import { HolderCalls } from './holderCalls.ts'
import { launchHolder } from './launch.ts'
import { encodeHello, requestType } from './monitorFrames.ts'
import type { HeldClass, HeldDescriptor, HeldName, HolderClient } from './types.ts'

const classNumbers: Record<HeldClass, number> = { api: 1, port: 2, dns: 3 }

const classOf = (number: number | undefined): HeldClass =>
  number === classNumbers.api ? 'api' : number === classNumbers.dns ? 'dns' : 'port'

export interface HolderOptions {
  /** Absolute path of berth-monitor, for the case that no store runs yet. */
  binary: string
  /** Control groups that a store which is started enters. */
  groups?: readonly string[]
  /** The store ended without being asked: connect again (this starts another) and put everything anew. */
  onLost?: () => void
  env?: Record<string, string>
}

const connectSocket = (execRoot: string): number => {
  /* By way of a descriptor, since a socket's path has at most 107 bytes. */
  const folder = openSync(execRoot, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    return connectUnix(`/proc/self/fd/${folder}/holder.sock`)
  } finally {
    closeSync(folder)
  }
}

/** Another connection, whose end Node reports. */
const watch = (execRoot: string, onLost: () => void): Socket => {
  const socket = new Socket({ fd: connectSocket(execRoot), readable: true, writable: true })
  socket.on('error', () => {})
  socket.on('close', onLost)
  socket.resume()
  socket.write(encodeHello())
  return socket
}

const isAbsent = (error: unknown): boolean => hasCode(error, 'ENOENT') || hasCode(error, 'ECONNREFUSED')

/** One that is ending or just starting holds the lock but serves nobody: that passes within milliseconds. */
const attempts = 100
const pause = 20

const connectOrStart = async (execRoot: string, options: HolderOptions): Promise<HolderCalls> => {
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      return new HolderCalls(connectSocket(execRoot))
    } catch (error) {
      if (!isAbsent(error) && !hasCode(error, 'unavailable')) throw error
    }
    try {
      return new HolderCalls(launchHolder(execRoot, options))
    } catch (error) {
      if (!hasCode(error, 'holder-refused') || !String(error).includes('another descriptor store'))
        throw error
    }
    await sleep(pause)
  }
  throw unavailable(
    `the descriptor store of ${execRoot} holds its lock but does not answer; end the process that holds ${execRoot}/holder.lock`,
  )
}

class Holder implements HolderClient {
  readonly #calls: HolderCalls
  readonly #watch: Socket

  constructor(calls: HolderCalls, socket: Socket) {
    this.#calls = calls
    this.#watch = socket
  }

  get pid(): number {
    return this.#calls.pid
  }

  put(name: string, fd: number, kind: HeldClass): void {
    const payload = Buffer.concat([Buffer.from([classNumbers[kind]]), Buffer.from(name)])
    this.#calls.call({ type: requestType.put, payload, fds: [fd] })
  }

  take(name: string): number | undefined {
    if (!this.list(name).some(held => held.name === name)) return undefined
    return this.#calls.call({ type: requestType.take, payload: Buffer.from(name) })
  }

  takeAll(prefix: string): HeldDescriptor[] {
    const taken: HeldDescriptor[] = []
    for (const { name } of this.list(prefix)) {
      const fd = this.#calls.call({ type: requestType.take, payload: Buffer.from(name) })
      if (fd !== undefined) taken.push({ name, fd })
    }
    return taken
  }

  list(prefix = ''): HeldName[] {
    const names: HeldName[] = []
    this.#calls.call({ type: requestType.list, payload: Buffer.from(prefix) }, frame => {
      names.push({ name: frame.payload.toString('utf8', 1), kind: classOf(frame.payload[0]) })
    })
    return names
  }

  drop(name: string): void {
    this.#calls.call({ type: requestType.drop, payload: Buffer.from(name) })
  }

  dropAll(prefix: string): void {
    this.#calls.call({ type: requestType.dropPrefix, payload: Buffer.from(prefix) })
  }

  leaving(seconds: number): void {
    const payload = Buffer.alloc(4)
    payload.writeUInt32LE(Math.max(0, Math.round(seconds)), 0)
    this.#calls.call({ type: requestType.leaving, payload })
  }

  close(): void {
    this.#watch.removeAllListeners('close')
    this.#watch.destroy()
    this.#calls.close()
  }
}

/** Connects to the descriptor store of an exec-root, starting one where none runs. */
export const connectHolder = async (execRoot: string, options: HolderOptions): Promise<HolderClient> => {
  const calls = await connectOrStart(execRoot, options)
  try {
    return new Holder(
      calls,
      watch(execRoot, () => options.onLost?.()),
    )
  } catch (error) {
    calls.close()
    throw error
  }
}
