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

/** Settles when the receiver has all. Errors: `bad-request` with what the receiver says, those of the source and the line. */
export const sendPackets = async (line: PacketLine, source: TreeSource): Promise<void> => {
  const files = new Map<number, Stat>()
  const requests = new Requests()
  const send = (
    type: Packet_PacketType,
    fields: Partial<Pick<Packet, 'id' | 'data'>> & { stat?: Stat } = {},
  ) => line.send(create(PacketSchema, { type, ...fields }))

  const list = async (): Promise<void> => {
    let count = 0
    for (const stat of source.entries()) {
      if (canBeAskedFor(stat)) files.set(count, stat)
      count++
      await send(Packet_PacketType.PACKET_STAT, { stat })
    }
    await send(Packet_PacketType.PACKET_STAT)
  }
  const give = async (): Promise<void> => {
    for await (const id of requests) {
      const stat = files.get(id)
      if (!stat) throw badRequest(`invalid file id ${id}`)
      files.delete(id)
      for await (const data of source.open(stat)) await send(Packet_PacketType.PACKET_DATA, { id, data })
      await send(Packet_PacketType.PACKET_DATA, { id })
    }
  }
  const hear = async (): Promise<void> => {
    let isDone = false
    try {
      for await (const packet of line.packets) {
        if (packet.type === Packet_PacketType.PACKET_ERR)
          throw badRequest(`error from receiver: ${Buffer.from(packet.data).toString()}`)
        if (packet.type === Packet_PacketType.PACKET_REQ) requests.add(packet.id)
        if (packet.type !== Packet_PacketType.PACKET_FIN) continue
        isDone = true
        await send(Packet_PacketType.PACKET_FIN)
        line.end()
      }
      // To its end, as only that tells that all went well.
      if (!isDone) throw badRequest('the receiver ended before it had all files')
    } finally {
      requests.end()
    }
  }
  await Promise.all([list(), give(), hear()])
}
