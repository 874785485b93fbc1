import { badRequest, forbidden, notImplemented } from '../../core/errors.ts'
import {
  chooseSubnet,
  contains,
  formatCidr,
  formatIpv4,
  networkOf,
  overlaps,
  parseCidr,
  parseIpv4,
  type SubnetPool,
} from '../../net/subnets.ts'
import type { Ipv4Subnet } from '../../net/types.ts'
import type { IpamConfig, NetworkCreateRequest } from '../../wire/network.ts'

/** The subnet of a new network: what was asked for, checked in Docker's words, or one of the pools. */

export interface SubnetChoice {
  subnet: Ipv4Subnet
  gateway: string
  range: Ipv4Subnet | undefined
  /** Names and addresses that no container gets. */
  reserved: Record<string, string>
}

const isIpv6 = (text: string | undefined): boolean => text?.includes(':') ?? false

const rangeProblems = (subnet: Ipv4Subnet, text: string): string[] => {
  const range = parseCidr(text)
  const problems: string[] = []
  const parent = formatCidr(subnet)
  if (range.prefix < subnet.prefix)
    problems.push(`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${parent}`)
  if (formatCidr(networkOf(range)) !== text)
    problems.push(`invalid ip-range ${text}: it should be ${formatCidr(networkOf(range))}`)
  if (!overlaps(subnet, range))
    problems.push(`invalid ip-range ${text}: parent subnet ${parent} doesn't contain ip-range`)
  return problems
}

const outside = (subnet: Ipv4Subnet, address: string): boolean => {
  parseIpv4(address)
  return !contains(subnet, address)
}

const problemsOf = (config: IpamConfig): string[] => {
  const text = config.Subnet ?? ''
  const subnet = networkOf(parseCidr(text))
  const parent = formatCidr(subnet)
  const problems: string[] = []
  if (parent !== text) problems.push(`invalid subnet ${text}: it should be ${parent}`)
  if (config.IPRange) problems.push(...rangeProblems(subnet, config.IPRange))
  const stray = `parent subnet ${text} doesn't contain this address`
  if (config.Gateway && outside(subnet, config.Gateway))
    problems.push(`invalid gateway ${config.Gateway}: ${stray}`)
  for (const [name, address] of Object.entries(config.AuxiliaryAddresses ?? {}))
    if (outside(subnet, address)) problems.push(`invalid auxiliary address ${name}: ${stray}`)
  return problems
}

/** The one IPv4 configuration that a bridge takes. Errors: `bad-request` with every problem, as Docker lists them. */
const checkedConfig = (configs: readonly IpamConfig[]): IpamConfig => {
  const given = configs.filter(config => !isIpv6(config.Subnet))
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
const smallest = 30

const firstAddress = (subnet: Ipv4Subnet, taken: readonly string[]): string => {
  const base = parseIpv4(subnet.address)
  for (let offset = 1; ; offset++) {
    const address = formatIpv4(base + offset)
    if (!taken.includes(address)) return address
  }
}

export interface Surroundings {
  pools: SubnetPool[]
  /** Subnets of this daemon's networks. */
  networks: Ipv4Subnet[]
  /** Destinations of the host's routes: only what is chosen here keeps clear of them. */
  routes: Ipv4Subnet[]
}

/** Errors: `bad-request`; `forbidden` where another network has it; `unavailable` where the pools are used up. */
export const decideSubnet = (
  ipam: NonNullable<NetworkCreateRequest['IPAM']>,
  around: Surroundings,
): SubnetChoice => {
  if (ipam.Driver && ipam.Driver !== 'default') throw notImplemented(`the IPAM driver ${ipam.Driver}`)
  const config = checkedConfig(ipam.Config ?? [])
  const subnet = config.Subnet
    ? parseCidr(config.Subnet)
    : chooseSubnet(around.pools, [...around.networks, ...around.routes])
  if (around.networks.some(other => overlaps(other, subnet)))
    throw forbidden('invalid pool request: Pool overlaps with other one on this address space')
  if (subnet.prefix > smallest)
    throw badRequest(
      `invalid network config:\nsubnet ${formatCidr(subnet)} has no room for a container: give /30 or larger`,
    )
  const reserved = config.AuxiliaryAddresses ?? {}
  const range = config.IPRange ? parseCidr(config.IPRange) : undefined
  return {
    subnet,
    gateway: config.Gateway || firstAddress(subnet, Object.values(reserved)),
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
