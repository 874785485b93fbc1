import { randomBytes } from 'node:crypto'
import { unavailable } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { packList, packMap, packNumber, packString, readAck } from './messagePack.ts'
import type { Target, Wire, WireOptions } from './types.ts'
import { openSocket, orAborted } from './wire.ts'

/** A connection of the forward protocol: entries go in batches, each acknowledged where that was asked for. */

export type FluentdTarget = Extract<Target, { kind: 'tcp' | 'unix' }>

export interface ForwardOptions {
  tag: string
  acknowledged: boolean
  /** Milliseconds that an acknowledgement may take. */
  timeout: number
}

/** Acknowledgements as they come. What comes unasked, or is none, is an error of the connection. */
class Acks {
  #bytes = Buffer.alloc(0)
  #wanted: { chunk: string; done: () => void; failed: (error: Error) => void } | undefined

  take(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    try {
      for (let ack = readAck(this.#bytes); ack; ack = readAck(this.#bytes)) {
        this.#bytes = Buffer.from(ack.rest)
        if (ack.chunk === this.#wanted?.chunk) this.#wanted.done()
      }
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)))
    }
  }

  fail(error: Error): void {
    this.#wanted?.failed(error)
  }

  /** Settles when a chunk was acknowledged. */
  async of(chunk: string, timeout: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#wanted = { chunk, done: resolve, failed: reject }
    const timer = setTimeout(
      () => reject(unavailable(`no acknowledgement came within ${timeout / 1000} seconds`)),
      timeout,
    )
    try {
      await promise
    } finally {
      clearTimeout(timer)
      this.#wanted = undefined
    }
  }
}

export const openFluentd = async (
  target: FluentdTarget,
  { tag, acknowledged, timeout }: ForwardOptions,
  { signal, onLost }: WireOptions,
): Promise<Wire> => {
  const acks = new Acks()
  const lost = (error: Error): void => {
    acks.fail(error)
    onLost(error)
  }
  const { socket, wire } = await openSocket(target, { signal, onLost: lost })
  socket.on('data', bytes => acks.take(Buffer.from(bytes)))
  const forward = (entries: readonly Buffer[], chunk: string): Buffer =>
    packList([
      packString(tag),
      packList(entries),
      packMap({
        size: packNumber(entries.length),
        ...(acknowledged ? { chunk: packString(chunk) } : {}),
      }),
    ])
  return {
    send: async (entries, stop) => {
      const chunk = randomBytes(16).toString('base64')
      if (!acknowledged) return await wire.send([forward(entries, chunk)], stop)
      const ack = acks.of(chunk, timeout)
      // It may fail before anybody waits for it.
      ack.catch(() => {})
      await wire.send([forward(entries, chunk)], stop)
      failpoint('delivery.unacknowledged')
      await orAborted(done => void ack.then(() => done(), done), stop)
    },
    [Symbol.dispose]: () => wire[Symbol.dispose](),
  }
}
