import { badRequest } from '../core/errors.ts'
import type { DefaultBridge } from '../engine/networks/networks.ts'
import { interfaceAddresses } from '../net/interfaces.ts'
import type { Network } from '../net/network.ts'
import {
  addressAt,
  canonical,
  chooseSubnet,
  contains,
  type Family,
  familyOf,
  networkOf,
  parseCidr,
  type SubnetPool,
} from '../net/subnets.ts'
import type { Subnet } from '../net/types.ts'
import type { DaemonSettings } from './settings.ts'

/** Decides how the default bridge is made from the daemon's options and what the host has. */

export interface BridgeSurroundings {
  network: Network
  pools: SubnetPool[]
  /** Subnets of an earlier start, kept so that containers keep their addresses. */
  known: readonly Subnet[]
}

type Side = Pick<DefaultBridge, 'subnet' | 'gateway'>

const ofGateway = (text: string): Side => {
  const given = parseCidr(text)
  return { subnet: networkOf(given), gateway: given.address }
}

const withFirst = (subnet: Subnet): Side => ({ subnet, gateway: addressAt(subnet, 1n) })

const chosen = (family: Family, { network, pools, known }: BridgeSurroundings): Side =>
  withFirst(
    known.find(({ address }) => familyOf(address) === family) ??
      chooseSubnet(
        pools.filter(({ base }) => familyOf(base.address) === family),
        network.hostRoutes(),
      ),
  )

const ownBridge = (
  settings: DaemonSettings,
  around: BridgeSurroundings,
): Side & Pick<DefaultBridge, 'link' | 'foreign'> => ({
  link: settings.instance === '' ? 'berth0' : `br-${settings.instance}`,
  foreign: false,
  ...(settings.bip === '' ? chosen(4, around) : ofGateway(settings.bip)),
})

const foreignBridge = (link: string): Side & Pick<DefaultBridge, 'link' | 'foreign'> => {
  const [address] = interfaceAddresses(link)
  if (!address)
    throw badRequest(`the bridge ${link} does not exist or has no IPv4 address: give it one, or leave -b out`)
  return { link, foreign: true, subnet: networkOf(address), gateway: address.address }
}

interface Parts {
  /** `fixed-cidr`, `fixed-cidr-v6` */
  range: readonly [option: string, value: string]
  defaultGateway: readonly [option: string, value: string]
}

/** What is only part of a subnet, checked against it. */
const partsOf = (
  subnet: Subnet,
  { range, defaultGateway }: Parts,
): Pick<DefaultBridge, 'range' | 'defaultGateway'> => {
  const check = ([option, value]: readonly [string, string], address: string): void => {
    if (!contains(subnet, address))
      throw badRequest(
        `--${option}=${value} is outside any subnet implied by addresses on the default bridge`,
      )
  }
  const given = range[1] === '' ? undefined : parseCidr(range[1])
  if (given) check(range, given.address)
  const gateway = defaultGateway[1] === '' ? undefined : canonical(defaultGateway[1])
  if (gateway) check(defaultGateway, gateway)
  return { ...(given ? { range: given } : {}), ...(gateway ? { defaultGateway: gateway } : {}) }
}

/** `--fixed-cidr-v6` without `--bip6` is the subnet. */
const ipv6Side = (
  { bridge, bip6, fixedCidr6, defaultGateway6 }: DaemonSettings,
  around: BridgeSurroundings,
): NonNullable<DefaultBridge['ipv6']> => {
  if (bridge !== '') {
    const [address] = interfaceAddresses(bridge, 6)
    if (!address)
      throw badRequest(`the bridge ${bridge} has no IPv6 address: give it one, or leave --ipv6 or -b out`)
    return { subnet: networkOf(address), gateway: address.address }
  }
  const fixed = bip6 === '' && fixedCidr6 !== '' ? withFirst(networkOf(parseCidr(fixedCidr6))) : undefined
  const side = bip6 === '' ? (fixed ?? chosen(6, around)) : ofGateway(bip6)
  const parts = partsOf(side.subnet, {
    range: ['fixed-cidr-v6', fixed ? '' : fixedCidr6],
    defaultGateway: ['default-gateway-v6', defaultGateway6],
  })
  return { ...side, ...parts }
}

/** Undefined for `-b none`. Errors: `bad-request` that names the option. */
export const defaultBridge = (
  settings: DaemonSettings,
  around: BridgeSurroundings,
): DefaultBridge | undefined => {
  if (settings.bridge === 'none') return undefined
  const base = settings.bridge === '' ? ownBridge(settings, around) : foreignBridge(settings.bridge)
  const { mtu, publishAddress, icc, masquerade, fixedCidr, defaultGateway } = settings
  return {
    ...{ ...base, mtu, publishAddress, icc, masquerade },
    ...partsOf(base.subnet, {
      range: ['fixed-cidr', fixedCidr],
      defaultGateway: ['default-gateway', defaultGateway],
    }),
    ...(settings.ipv6 ? { ipv6: ipv6Side(settings, around) } : {}),
  }
}
