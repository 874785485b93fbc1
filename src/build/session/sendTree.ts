import { PacketSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { openExport } from './sendFile.ts'
import type { Session } from './session.ts'
import { sendPackets, type TreeSource } from './treeSender.ts'

export interface TreeExport {
  exporter: number
  source: TreeSource
  /** All that there will be: the client may remove what else its folder holds. */
  isWhole?: boolean
  /** Bytes of files that were sent. */
  onProgress?(bytes: number): void
}

/**
 * Sends a tree to the folder that the client names for an exporter. Errors:
 * `bad-request` where it takes nothing, or with what it says; those of a call.
 */
export const sendTree = async (session: Session, tree: TreeExport, signal: AbortSignal): Promise<void> => {
  using stream = openExport(session, tree, signal)
  let bytes = 0
  await sendPackets(
    {
      end: () => stream.endSending(),
      close: () => stream.close(),
      packets: stream.messages(PacketSchema),
      send: packet => {
        bytes += packet.data.length
        tree.onProgress?.(bytes)
        return stream.send(PacketSchema, packet)
      },
    },
    tree.source,
  )
}
