import { create } from '@bufbuild/protobuf'
import { type ByteString, clampPath, joinPath, parentOf, show, toByteString } from '../../archive/paths.ts'
import { badRequest } from '../../core/errors.ts'
import { type Packet, Packet_PacketType, PacketSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { openContext } from './contextSync.ts'
import { kindOf } from './goFileMode.ts'
import type { GrpcStream } from './grpcStream.ts'
import { PacketOrder } from './packetOrder.ts'
import type { Session } from './session.ts'

/** A few small files of a client, into memory: Dockerfiles and what says which files are left out. */

/** What a client lists for a few paths is no more than their directories and links. */
const mostEntries = 4096
const mostLinks = 40

const toPath = (name: string): ByteString => Buffer.from(name).toString('latin1')

/** Entries by path: files by number, links by target. */
class Listing {
  readonly #files = new Map<ByteString, number>()
  readonly #links = new Map<ByteString, ByteString>()
  readonly #order = new PacketOrder()
  #count = 0

  add({ stat }: Packet): void {
    if (!stat) return
    if (this.#count === mostEntries) throw badRequest(`the client listed more than ${mostEntries} entries`)
    const path = toByteString(stat.path)
    const kind = kindOf(stat.mode)
    this.#order.next(path, kind === 'directory')
    if (kind === 'link') this.#links.set(path, toByteString(stat.linkname))
    else if (kind === 'file') this.#files.set(path, this.#count)
    this.#count++
  }

  /** Links are followed within the folder. */
  find(path: ByteString, followed = 0): number | undefined {
    const number = this.#files.get(path)
    if (number !== undefined || followed > mostLinks) return number
    for (let part = path; part !== ''; part = parentOf(part)) {
      const target = this.#links.get(part)
      if (target === undefined) continue
      const resolved = target.startsWith('/') ? target : joinPath(parentOf(part), target)
      return this.find(clampPath(resolved + path.slice(part.length)), followed + 1)
    }
    return undefined
  }
}

/** Bytes of files by number, bounded together. */
class Contents {
  readonly #limit: number
  readonly #pieces = new Map<number, Uint8Array[]>()
  readonly #open = new Set<number>()
  #size = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get areWhole(): boolean {
    return this.#open.size === 0
  }

  expect(number: number): void {
    this.#open.add(number)
    this.#pieces.set(number, [])
  }

  add({ id, data }: Packet): void {
    if (!this.#open.has(id)) throw badRequest(`invalid file request ${id}`)
    if (data.length === 0) this.#open.delete(id)
    this.#size += data.length
    if (this.#size > this.#limit)
      throw badRequest(
        `the client's files are larger than ${this.#limit} bytes: they are too large for what they are for`,
      )
    this.#pieces.get(id)?.push(data)
  }

  get(number: number): Buffer {
    return Buffer.concat(this.#pieces.get(number) ?? [])
  }
}

const send = (stream: GrpcStream, type: Packet_PacketType, id = 0): Promise<void> =>
  stream.send(PacketSchema, create(PacketSchema, { type, id }))

const receive = async (
  stream: GrpcStream,
  paths: readonly string[],
  contents: Contents,
): Promise<Map<string, number>> => {
  const listing = new Listing()
  const wanted = new Map<string, number>()
  const ask = async (): Promise<void> => {
    for (const path of paths) {
      const number = listing.find(clampPath(toPath(path)))
      if (number !== undefined) wanted.set(path, number)
    }
    for (const number of new Set(wanted.values())) {
      contents.expect(number)
      await send(stream, Packet_PacketType.PACKET_REQ, number)
    }
  }
  for await (const packet of stream.messages(PacketSchema)) {
    if (packet.type === Packet_PacketType.PACKET_ERR)
      throw badRequest(`error from sender: ${Buffer.from(packet.data).toString()}`)
    if (packet.type === Packet_PacketType.PACKET_STAT && packet.stat) listing.add(packet)
    else if (packet.type === Packet_PacketType.PACKET_STAT) await ask()
    else if (packet.type === Packet_PacketType.PACKET_DATA) contents.add(packet)
    else if (packet.type === Packet_PacketType.PACKET_FIN) stream.endSending()
    const isListEnd = packet.type === Packet_PacketType.PACKET_STAT && !packet.stat
    const isFileEnd = packet.type === Packet_PacketType.PACKET_DATA && packet.data.length === 0
    if ((isListEnd || isFileEnd) && contents.areWhole) await send(stream, Packet_PacketType.PACKET_FIN)
  }
  return wanted
}

/**
 * Files of a client's folder, by the paths that were asked for; those that are
 * not there are left out. Links are followed. `limit`: bytes of all together.
 * Errors: as `openContext`; `bad-request` for files that are too large.
 */
export const readFiles = async (
  session: Session,
  request: { name: string; paths: readonly string[]; limit: number },
  signal: AbortSignal,
): Promise<Map<string, Buffer>> => {
  using stream = openContext(session, { name: request.name, follow: request.paths }, signal)
  const contents = new Contents(request.limit)
  const wanted = await receive(stream, request.paths, contents)
  if (!contents.areWhole)
    throw badRequest(`the client did not send all of ${request.paths.map(show).join(', ')}`)
  return new Map([...wanted].map(([path, number]) => [path, contents.get(number)]))
}
