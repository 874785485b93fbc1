import type { ContainerNames } from '../../net/dns/types.ts'
import { parseUpstream } from '../../net/dns/upstreams.ts'
import { contains } from '../../net/subnets.ts'
import type { ContainerRecord, NetworkAttachment } from '../containers/types.ts'
import type { NameIndex } from './nameIndex.ts'
import { isPredefined, type NetworkRecord, subnetsOf } from './types.ts'

/** What a container may ask its name server for. */

export interface NamesAround {
  index: NameIndex
  network: (attachment: NetworkAttachment) => NetworkRecord | undefined
  /** A container's id by its name or id, for links. */
  idOf: (reference: string) => string | undefined
  /** Where the host asks, what stands behind its stub, or what the container was given. */
  upstreams: () => string[]
}

/** A name of ours is answered on these networks: user-defined ones. */
export const hasNames = ({ networkName }: NetworkAttachment): boolean =>
  !isPredefined(networkName) && !networkName.startsWith('container:')

/** Names by which others on a user-defined network find the container, its own first. */
export const namesOf = (record: ContainerRecord, { aliases }: NetworkAttachment): string[] => [
  ...new Set([record.name, ...aliases, record.id.slice(0, 12), record.config.Hostname ?? ''].filter(Boolean)),
]

/** Answers turn by one from question to question. */
let turn = 0

const turned = (addresses: string[]): string[] => {
  if (addresses.length < 2) return addresses
  turn = (turn + 1) % 0x40000000
  const first = turn % addresses.length
  return [...addresses.slice(first), ...addresses.slice(0, first)]
}

export const containerNames = (record: ContainerRecord, around: NamesAround): ContainerNames => {
  const joined = record.networks.filter(attachment => attachment.endpoint && hasNames(attachment))
  const linked = ({ links = [] }: NetworkAttachment, name: string): string | undefined => {
    const link = links.find(text => (text.split(':')[1] ?? text).toLowerCase() === name)
    return link?.split(':')[0]
  }
  const onNetwork = (attachment: NetworkAttachment, name: string): string[] => {
    const { networkId, networkName } = attachment
    const target = linked(attachment, name)
    const id = target && around.idOf(target)
    if (id) return around.index.addresses(networkId, id.slice(0, 12))
    const found = around.index.addresses(networkId, name)
    const suffix = `.${networkName.toLowerCase()}`
    return found.length > 0 || !name.endsWith(suffix)
      ? found
      : around.index.addresses(networkId, name.slice(0, -suffix.length))
  }
  return {
    addresses: name => {
      for (const attachment of joined) {
        const found = onNetwork(attachment, name)
        if (found.length > 0) return turned(found)
      }
      return undefined
    },
    nameOf: address => {
      for (const { networkId, networkName } of joined) {
        const name = around.index.nameOf(networkId, address)
        if (name) return `${name}.${networkName}`
      }
      return undefined
    },
    upstreams: () => {
      const networks = record.networks.flatMap(attachment => around.network(attachment) ?? [])
      const inside = networks.flatMap(({ bridge }) => (bridge ? [bridge] : []))
      if (inside.some(({ internal }) => !internal)) return around.upstreams()
      // From an internal network nothing is asked outside of it.
      const subnets = networks.flatMap(subnetsOf)
      return around.upstreams().filter(server => subnets.some(subnet => isWithin(subnet, server)))
    },
  }
}

const isWithin = (subnet: Parameters<typeof contains>[0], server: string): boolean => {
  try {
    return contains(subnet, parseUpstream(server)?.address ?? '')
  } catch {
    return false
  }
}
