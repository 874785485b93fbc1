import { badRequest, forbidden, notImplemented } from '../../core/errors.ts'
import {
  addressAt,
  canonical,
  chooseSubnet,
  contains,
  type Family,
  familyOf,
  formatCidr,
  networkOf,
  overlaps,
  parseCidr,
  type SubnetPool,
  widthOf,
} from '../../net/subnets.ts'
import type { Subnet } from '../../net/types.ts'
import type { IpamConfig, NetworkCreateRequest } from '../../wire/network.ts'
import type { Engine } from '../engine.ts'
import { type NetworkRecord, subnetsOf } from './types.ts'

/** The subnets of a new network, one a family: what was asked for, checked in Docker's words, or one of the pools. */

export interface SubnetChoice {
  subnet: Subnet
  gateway: string
  range: Subnet | undefined
  /** Names and addresses that no container gets. */
  reserved: Record<string, string>
}

const rangeProblems = (subnet: Subnet, text: string): string[] => {
  const range = parseCidr(text)
  const problems: string[] = []
  const parent = formatCidr(subnet)
  if (range.prefix < subnet.prefix)
    problems.push(`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${parent}`)
  if (formatCidr(networkOf(range)) !== formatCidr(range))
    problems.push(`invalid ip-range ${text}: it should be ${formatCidr(networkOf(range))}`)
  if (!overlaps(subnet, range))
    problems.push(`invalid ip-range ${text}: parent subnet ${parent} doesn't contain ip-range`)
  return problems
}

const outside = (subnet: Subnet, address: string): boolean => !contains(subnet, canonical(address))

const problemsOf = (config: IpamConfig): string[] => {
  const text = config.Subnet ?? ''
  const subnet = networkOf(parseCidr(text))
  const parent = formatCidr(subnet)
  const problems: string[] = []
  if (parent !== formatCidr(parseCidr(text))) problems.push(`invalid subnet ${text}: it should be ${parent}`)
  if (config.IPRange) problems.push(...rangeProblems(subnet, config.IPRange))
  const stray = `parent subnet ${text} doesn't contain this address`
  if (config.Gateway && outside(subnet, config.Gateway))
    problems.push(`invalid gateway ${config.Gateway}: ${stray}`)
  for (const [name, address] of Object.entries(config.AuxiliaryAddresses ?? {}))
    if (outside(subnet, address)) problems.push(`invalid auxiliary address ${name}: ${stray}`)
  return problems
}

/** What a configuration is of: its subnet, or what else it names. */
const familyOfConfig = ({ Subnet, IPRange, Gateway }: IpamConfig): Family =>
  familyOf(Subnet || IPRange || Gateway || '')

/** The one configuration that a bridge takes for a family. Errors: `bad-request` with every problem, as Docker lists them. */
const checkedConfig = (configs: readonly IpamConfig[], family: Family): IpamConfig => {
  const given = configs.filter(config => familyOfConfig(config) === family)
  if (given.length > 1) throw forbidden("bridge driver doesn't support multiple subnets")
  const config = given[0] ?? {}
  if (!config.Subnet) {
    if (config.IPRange || config.Gateway)
      throw badRequest('invalid network config:\nan ip-range or a gateway needs a subnet: give --subnet, too')
    return {}
  }
  const problems = problemsOf(config)
  if (problems.length > 0) throw badRequest(`invalid network config:\n${problems.join('\n')}`)
  return config
}

/** Room for the network itself, the gateway and a container. */
const smallest = (family: Family): number => widthOf(family) - 2

const firstAddress = (subnet: Subnet, taken: readonly string[]): string => {
  for (let offset = 1n; ; offset++) {
    const address = addressAt(subnet, offset)
    if (!taken.includes(address)) return address
  }
}

export interface Surroundings {
  pools: SubnetPool[]
  /** Subnets of this daemon's networks. */
  networks: Subnet[]
  /** Destinations of the host's routes: only what is chosen here keeps clear of them. */
  routes: Subnet[]
}

/** Errors: `bad-request`; `forbidden` where another network has it; `unavailable` where the pools are used up. */
export const decideSubnet = (
  ipam: NonNullable<NetworkCreateRequest['IPAM']>,
  family: Family,
  around: Surroundings,
): SubnetChoice => {
  if (ipam.Driver && ipam.Driver !== 'default') throw notImplemented(`the IPAM driver ${ipam.Driver}`)
  const config = checkedConfig(ipam.Config ?? [], family)
  const subnet = config.Subnet
    ? parseCidr(config.Subnet)
    : chooseSubnet(
        around.pools.filter(({ base }) => familyOf(base.address) === family),
        [...around.networks, ...around.routes],
      )
  if (around.networks.some(other => overlaps(other, subnet)))
    throw forbidden('invalid pool request: Pool overlaps with other one on this address space')
  if (subnet.prefix > smallest(family))
    throw badRequest(
      `invalid network config:\nsubnet ${formatCidr(subnet)} has no room for a container: give /${smallest(family)} or larger`,
    )
  const reserved = Object.fromEntries(
    Object.entries(config.AuxiliaryAddresses ?? {}).map(([name, address]) => [name, canonical(address)]),
  )
  const range = config.IPRange ? parseCidr(config.IPRange) : undefined
  return {
    subnet,
    gateway: config.Gateway ? canonical(config.Gateway) : firstAddress(subnet, Object.values(reserved)),
    range,
    reserved,
  }
}

/** As inspect shows it. */
export const ipamConfigOf = ({ subnet, gateway, range, reserved }: SubnetChoice): IpamConfig => ({
  Subnet: formatCidr(subnet),
  ...(range ? { IPRange: formatCidr(range) } : {}),
  Gateway: gateway,
  ...(Object.keys(reserved).length > 0 ? { AuxiliaryAddresses: reserved } : {}),
})

/** How many addresses of each subnet of a network are in use, and can still be given. */
export const addressUse = (
  { network }: Pick<Engine, 'network'>,
  record: NetworkRecord,
): { subnet: string; inUse: number; available: number }[] =>
  subnetsOf(record).map(subnet => {
    const { inUse, available } = network.addresses.pool(record.id, familyOf(subnet.address))
    return { subnet: formatCidr(subnet), inUse, available }
  })
