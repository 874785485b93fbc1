import { createHash } from 'node:crypto'
import { conflict, hasCode, internal } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { writeKernelFile } from '../linux/namespace.ts'
import type { NetlinkSocket } from '../linux/netlink.ts'
import { addVeth, deleteLink, findLink, setLink } from '../linux/rtnetlink.ts'
import { setLinkRoute } from '../linux/rtnetlink-routes.ts'
import { addRule, deleteRule, mainTable, type RoutingRule } from '../linux/rtnetlink-rules.ts'
import { linkGroup } from './firewall/rules.ts'
import { aliasOf, ownerOf } from './owner.ts'
import type { Detour } from './types.ts'

/**
 * The way back for what the host's INPUT has let pass (firewall mode `host`):
 * the first packet to a published port is delivered to the host as if to a
 * server of its own, so that all its INPUT rules are asked. Where they let it
 * pass a copy enters `ask`, comes out of `back`, and is translated there. What
 * follows of the flow is translated where it comes in.
 */

export interface DetourPlace {
  /** rtnetlink in the host's namespace, where the calling thread is, too. */
  socket: NetlinkSocket
  /** Table name: the mark of this daemon. */
  table: string
}

/** Before the rules of the host's own, which know nothing of these packets. */
const priorities = { back: 100, source: 101 }

const largestMtu = 65535

export const detourOf = (table: string): Detour => {
  const hash = createHash('sha256').update(table).digest()
  const text = hash.toString('hex', 0, 4)
  return { ask: `ask${text}`, back: `back${text}`, mark: (0xbe470000 | hash.readUInt16BE(0)) >>> 0 }
}

/**
 * Packets from `back` are routed as any; the second rule is met when a source
 * is looked up that a strict rp_filter holds against the link it came by.
 */
const rulesOf = ({ back, mark }: Detour): RoutingRule[] => [
  { priority: priorities.back, incoming: back, table: mainTable },
  { priority: priorities.source, mark, table: mark },
]

const unless = (codes: string[], task: () => void): void => {
  try {
    task()
  } catch (error) {
    if (!codes.some(code => hasCode(error, code))) throw error
  }
}

const addPair = ({ socket, table }: DetourPlace, { ask, back }: Detour): void => {
  // One hardware address for both: what is sent to the one is for the other, and nobody need be asked.
  const settings = { mtu: largestMtu, mac: '02:be:47:00:00:01', group: linkGroup }
  const alias = aliasOf(table, { kind: 'detour' })
  const rest = { alias, withoutArp: true, withoutLinkLocal: true }
  socket.batch([
    addVeth({ name: ask, settings, peer: { name: back, settings } }),
    setLink(ask, rest),
    setLink(back, rest),
  ])
}

/** Makes the way back, or completes it. Errors: `conflict` where others' links have the names. */
export const ensureDetour = (place: DetourPlace, detour: Detour): void => {
  const { socket, table } = place
  const { ask } = detour
  const found = findLink(socket, ask)
  if (found && ownerOf(table, found)?.kind !== 'detour')
    throw conflict(`a link named ${ask} exists and is not of this daemon: remove it`)
  try {
    if (!found) addPair(place, detour)
    failpoint('net.detour.link')
    leadBack(place, detour)
  } catch (error) {
    if (!found) removeDetour(place, detour)
    throw error
  }
}

const leadBack = ({ socket }: DetourPlace, detour: Detour): void => {
  const { ask, back } = detour
  const link = findLink(socket, back)
  if (!link) throw internal(`link ${back} vanished while it was made`)
  writeKernelFile(`/proc/sys/net/ipv4/conf/${back}/src_valid_mark`, '1')
  socket.batch([setLink(ask, { up: true }), setLink(back, { up: true })])
  socket.batch([setLinkRoute(link.index, detour.mark)])
  failpoint('net.detour.route')
  for (const rule of rulesOf(detour)) unless(['EEXIST'], () => socket.batch([addRule(rule)]))
  failpoint('net.detour.rules')
}

/** Takes it away; what is absent already is no error. */
export const removeDetour = ({ socket, table }: DetourPlace, detour: Detour): void => {
  // Of a kernel without routing rules there is nothing to take away.
  const absent = ['ENOENT', 'EOPNOTSUPP', 'EAFNOSUPPORT']
  for (const rule of rulesOf(detour)) unless(absent, () => socket.batch([deleteRule(rule)]))
  failpoint('net.detour.unruled')
  const link = findLink(socket, detour.ask)
  if (link && ownerOf(table, link)?.kind === 'detour')
    unless(['ENODEV'], () => socket.batch([deleteLink(detour.ask)]))
}
