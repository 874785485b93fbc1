import { create } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect'
import { FileSync } from '../../../wire/buildkit/filesync_pb.ts'
import { type Packet, Packet_PacketType, PacketSchema, StatSchema } from '../../../wire/buildkit/fsutil_pb.ts'
import { folderSource } from '../folderSource.ts'
import { sendPackets } from '../treeSender.ts'
import { openClient, type TestClient } from './client.ts'

/** Clients that give folders, honest ones and others. */

const method = '/moby.filesync.v1.FileSync/DiffCopy'

/** What is put in comes out, one at a time. */
class Line {
  readonly #items: Packet[] = []
  #ended = false
  #wake = (): void => {}

  async send(packet: Packet): Promise<void> {
    // The sender uses its memory again.
    this.#items.push({ ...packet, data: Uint8Array.from(packet.data) })
    this.#wake()
    if (this.#items.length > 64) await new Promise(resolve => setImmediate(resolve))
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Packet> {
    for (;;) {
      const item = this.#items.shift()
      if (item) yield item
      else if (this.#ended) return
      else await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }
}

async function* serveFolder(folder: string, requests: AsyncIterable<Packet>): AsyncGenerator<Packet> {
  using source = folderSource(folder)
  const line = new Line()
  const end = (): void => line.end()
  const sending = sendPackets(
    { packets: untilFin(requests), send: packet => line.send(packet), end, close: end },
    source,
  )
  sending.catch(() => {}).finally(end)
  yield* line
  await sending
}

async function* untilFin(packets: AsyncIterable<Packet>): AsyncGenerator<Packet> {
  for await (const packet of packets) {
    yield packet
    if (packet.type === Packet_PacketType.PACKET_FIN) return
  }
}

/** Serves folders by name, without any patterns; `seen` gets the headers of each call. */
export const openFolderClient = (
  folders: Record<string, string>,
  seen: (headers: Headers) => void = () => {},
): Promise<TestClient> => {
  const routes = (router: ConnectRouter): void => {
    router.service(FileSync, {
      async *diffCopy(requests: AsyncIterable<Packet>, context: HandlerContext) {
        seen(context.requestHeader)
        const name = context.requestHeader.get('dir-name') ?? ''
        const folder = folders[name]
        if (folder === undefined)
          throw new ConnectError(`no access allowed to dir ${JSON.stringify(name)}`, Code.NotFound)
        yield* serveFolder(folder, requests)
      },
    })
  }
  return openClient(routes, [method])
}

/** Sends packets as they are given, then waits. */
export const openRawClient = (
  packets: (requests: AsyncIterable<Packet>) => AsyncIterable<Packet>,
): Promise<TestClient> =>
  openClient(
    router =>
      router.service(FileSync, {
        diffCopy: (requests: AsyncIterable<Packet>) => packets(requests),
      }),
    [method],
  )

export const statPacket = (fields: {
  path: string
  mode?: number
  size?: bigint
  linkname?: string
}): Packet => {
  const { path, linkname = '', mode = 0o644, size = 0n } = fields
  return create(PacketSchema, {
    type: Packet_PacketType.PACKET_STAT,
    stat: create(StatSchema, { mode, size, path: Buffer.from(path), linkname: Buffer.from(linkname) }),
  })
}

export const listEnd = (): Packet => create(PacketSchema, { type: Packet_PacketType.PACKET_STAT })
export const dataPacket = (id: number, data: string | Uint8Array): Packet =>
  create(PacketSchema, { type: Packet_PacketType.PACKET_DATA, id, data: Buffer.from(data) })
export const finPacket = (): Packet => create(PacketSchema, { type: Packet_PacketType.PACKET_FIN })
export const errorPacket = (text: string): Packet =>
  create(PacketSchema, { type: Packet_PacketType.PACKET_ERR, data: Buffer.from(text) })
