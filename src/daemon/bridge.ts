import { badRequest } from '../core/errors.ts'
import type { DefaultBridge } from '../engine/networks/networks.ts'
import { interfaceAddresses } from '../net/interfaces.ts'
import type { Network } from '../net/network.ts'
import {
  chooseSubnet,
  contains,
  defaultPools,
  formatIpv4,
  networkOf,
  parseCidr,
  parseIpv4,
} from '../net/subnets.ts'
import type { Ipv4Subnet } from '../net/types.ts'
import type { DaemonSettings } from './settings.ts'

/** Decides how the default bridge is made from the daemon's options and what the host has. */

const firstAddress = (subnet: Ipv4Subnet): string => formatIpv4(parseIpv4(networkOf(subnet).address) + 1)

const poolsOf = (settings: DaemonSettings) =>
  settings.addressPools.length
    ? settings.addressPools.map(({ base, size }) => ({ base: parseCidr(base), size }))
    : defaultPools

const ownBridge = (
  settings: DaemonSettings,
  network: Network,
  known: Ipv4Subnet | undefined,
): Pick<DefaultBridge, 'link' | 'foreign' | 'subnet' | 'gateway'> => {
  const link = settings.instance === '' ? 'berth0' : `br-${settings.instance}`
  if (settings.bip !== '') {
    const given = parseCidr(settings.bip)
    return { link, foreign: false, subnet: networkOf(given), gateway: given.address }
  }
  const subnet = known ?? chooseSubnet(poolsOf(settings), network.hostRoutes())
  return { link, foreign: false, subnet, gateway: firstAddress(subnet) }
}

const foreignBridge = (link: string): Pick<DefaultBridge, 'link' | 'foreign' | 'subnet' | 'gateway'> => {
  const [address] = interfaceAddresses(link)
  if (!address)
    throw badRequest(`the bridge ${link} does not exist or has no IPv4 address: give it one, or leave -b out`)
  return { link, foreign: true, subnet: networkOf(address), gateway: address.address }
}

/** `known` is the subnet of an earlier start, kept so that containers keep their addresses. Undefined for `-b none`. */
export const defaultBridge = (
  settings: DaemonSettings,
  network: Network,
  known: Ipv4Subnet | undefined,
): DefaultBridge | undefined => {
  if (settings.bridge === 'none') return undefined
  const base = settings.bridge === '' ? ownBridge(settings, network, known) : foreignBridge(settings.bridge)
  const range = settings.fixedCidr === '' ? undefined : parseCidr(settings.fixedCidr)
  if (range && !contains(base.subnet, range.address))
    throw badRequest(
      `--fixed-cidr=${settings.fixedCidr} is outside any subnet implied by addresses on the default bridge`,
    )
  const { mtu, publishAddress, icc, masquerade, defaultGateway } = settings
  if (defaultGateway !== '' && !contains(base.subnet, defaultGateway))
    throw badRequest(
      `--default-gateway=${defaultGateway} is outside any subnet implied by addresses on the default bridge`,
    )
  return {
    ...{ ...base, mtu, publishAddress, icc, masquerade },
    ...(range ? { range } : {}),
    ...(defaultGateway === '' ? {} : { defaultGateway }),
  }
}
