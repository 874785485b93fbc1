import { create } from '@bufbuild/protobuf'
import { badRequest } from '../../core/errors.ts'
import { type Packet, Packet_PacketType, PacketSchema, type Stat } from '../../wire/buildkit/fsutil_pb.ts'
import { kindOf } from './goFileMode.ts'

/** fsutil's sender: lists a tree, and gives the files that are asked for. */

export interface PacketLine {
  /** Settles when more may follow. */
  send(packet: Packet): Promise<void>
  /** Nothing more is sent. */
  end(): void
  /** Ends it both ways at once: what waits for it fails or ends. */
  close(): void
  packets: AsyncIterable<Packet>
}

export interface TreeSource {
  /** In the order of a walk: a directory, then what is in it, names in the order of their bytes. */
  entries(): Iterable<Stat>
  /** Of a file that was listed; its pieces may be used again once the next one is asked for. */
  open(stat: Stat): AsyncIterable<Uint8Array>
}

class Requests {
  readonly #waiting: number[] = []
  #next = 0
  #ended = false
  #wake = (): void => {}

  add(number: number): void {
    this.#waiting.push(number)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number> {
    for (;;) {
      const number = this.#waiting[this.#next]
      if (number !== undefined) {
        this.#next++
        yield number
      } else if (this.#ended) return
      else await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }
}

const canBeAskedFor = (stat: Stat): boolean => kindOf(stat.mode) === 'file'

class Sending {
  readonly #line: PacketLine
  readonly #source: TreeSource
  readonly #files = new Map<number, Stat>()
  readonly #requests = new Requests()

  constructor(line: PacketLine, source: TreeSource) {
    this.#line = line
    this.#source = source
  }

  async list(): Promise<void> {
    let count = 0
    for (const stat of this.#source.entries()) {
      if (canBeAskedFor(stat)) this.#files.set(count, stat)
      count++
      await this.#send(Packet_PacketType.PACKET_STAT, { stat })
    }
    await this.#send(Packet_PacketType.PACKET_STAT)
  }

  async give(): Promise<void> {
    for await (const id of this.#requests) {
      const stat = this.#files.get(id)
      if (!stat) throw badRequest(`invalid file id ${id}`)
      this.#files.delete(id)
      for await (const data of this.#source.open(stat))
        await this.#send(Packet_PacketType.PACKET_DATA, { id, data })
      await this.#send(Packet_PacketType.PACKET_DATA, { id })
    }
  }

  /** To the line's end, as only that tells that all went well. */
  async hear(): Promise<void> {
    let isDone = false
    try {
      for await (const packet of this.#line.packets) {
        if (packet.type === Packet_PacketType.PACKET_ERR)
          throw badRequest(`error from receiver: ${Buffer.from(packet.data).toString()}`)
        if (packet.type === Packet_PacketType.PACKET_REQ) this.#requests.add(packet.id)
        if (packet.type !== Packet_PacketType.PACKET_FIN) continue
        isDone = true
        await this.#send(Packet_PacketType.PACKET_FIN)
        this.#line.end()
      }
      if (!isDone) throw badRequest('the receiver ended before it had all files')
    } finally {
      this.#requests.end()
    }
  }

  #send(
    type: Packet_PacketType,
    fields: { id?: number; data?: Uint8Array; stat?: Stat } = {},
  ): Promise<void> {
    return this.#line.send(create(PacketSchema, { type, ...fields }))
  }
}

/** Settles when the receiver has all. Errors: `bad-request` with what the receiver says, those of the source and the line. */
export const sendPackets = async (line: PacketLine, source: TreeSource): Promise<void> => {
  const sending = new Sending(line, source)
  let failure: { error: unknown } | undefined
  // All three have ended when this does: the source may be closed then.
  const part = async (work: Promise<void>): Promise<void> => {
    try {
      await work
    } catch (error) {
      failure ??= { error }
      line.close()
    }
  }
  await Promise.all([part(sending.list()), part(sending.give()), part(sending.hear())])
  if (failure) throw failure.error
}
