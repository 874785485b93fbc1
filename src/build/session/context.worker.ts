import { parentPort } from 'node:worker_threads'
import { asBerthError, BerthError } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { ownUmask } from '../../linux/files.ts'
import { ListDigester } from './contextList.ts'
import { ContextReceiver } from './contextReceiver.ts'
import type { ContextTask, FromContextWorker, TaskError, ToContextWorker } from './contextTask.ts'
import { FrameSplitter, frame, frameHead } from './grpcFrames.ts'
import { type Packet, packet, packetTypes, readPacket, writePacket } from './packets.ts'

/** The worker's side of a sync: takes packets, hashes and writes files, several syncs in turn. */

const port = parentPort
const send = (message: FromContextWorker): void => port?.postMessage(message)

const recordOf = (error: unknown): TaskError => {
  const { code, status, message } = asBerthError(error)
  return { code, status, message }
}

class Sync {
  readonly #id: number
  readonly #splitter = new FrameSplitter()
  readonly #receiver: ContextReceiver
  readonly #list = new ListDigester()
  #outgoing: Buffer[] = []
  #isOver = false

  constructor(id: number, task: ContextTask) {
    this.#id = id
    this.#receiver = new ContextReceiver({ ...task, send: packet => this.#answer(packet) })
  }

  take(message: ToContextWorker): void {
    if (this.#isOver) return
    if (message.kind === 'bytes') {
      for (const bytes of this.#splitter.push(message.bytes)) {
        const taken = readPacket(bytes)
        if (taken.type === packetTypes.stat)
          for (const part of [frameHead(bytes.length), bytes]) this.#list.push(part)
        this.#receiver.take(taken)
      }
      this.#flush()
      discarded(message.bytes.length)
      send({ id: this.#id, kind: 'taken' })
    } else if (message.kind === 'end') this.#end()
  }

  /** The client is told, so that it says why. */
  fail(error: unknown): void {
    if (this.#isOver) return
    const record = recordOf(error)
    this.#answer(packet(packetTypes.error, { data: Buffer.from(record.message) }))
    this.#flush()
    this.close()
    send({ id: this.#id, kind: 'failed', error: record })
  }

  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#receiver[Symbol.dispose]()
  }

  #end(): void {
    const { tree, hasEnded } = this.#receiver
    if (!tree || !hasEnded)
      throw new BerthError('bad-message', 400, 'the client ended before all of its files had come')
    this.close()
    send({ id: this.#id, kind: 'done', received: { tree, list: this.#list.end() } })
  }

  #answer(answer: Packet): void {
    this.#outgoing.push(frame(writePacket(answer)))
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return
    send({ id: this.#id, kind: 'bytes', bytes: Buffer.concat(this.#outgoing) })
    this.#outgoing = []
  }
}

const syncs = new Map<number, Sync>()

const start = ({ id, task }: ToContextWorker & { kind: 'start' }): void => {
  try {
    syncs.set(id, new Sync(id, task))
  } catch (error) {
    send({ id, kind: 'failed', error: recordOf(error) })
  }
}

const hear = (message: ToContextWorker): void => {
  if (message.kind === 'start') {
    start(message)
    return
  }
  const sync = syncs.get(message.id)
  try {
    if (message.kind !== 'leave') sync?.take(message)
  } catch (error) {
    sync?.fail(error)
  }
  if (message.kind !== 'leave') return
  sync?.close()
  syncs.delete(message.id)
  send({ id: message.id, kind: 'left' })
}

ownUmask()
port?.on('message', hear)
