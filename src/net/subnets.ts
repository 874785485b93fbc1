import { badRequest, unavailable } from '../core/errors.ts'
import type { Ipv4Subnet } from './types.ts'

/** IPv4 arithmetic, and the choice of a subnet for a new network. Pure. */

const octet = /^(0|[1-9]\d{0,2})$/

/** An address as an unsigned number. Errors: `bad-request`. */
export const parseIpv4 = (text: string): number => {
  const parts = text.split('.')
  const valid = parts.length === 4 && parts.every(part => octet.test(part) && Number(part) < 256)
  if (!valid) throw badRequest(`invalid IPv4 address: ${text}`)
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

export const formatIpv4 = (value: number): string =>
  [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.')

/** Number of addresses of a prefix length. */
export const sizeOf = (prefix: number): number => 2 ** (32 - prefix)

/** First address of the subnet that holds `value`. */
const baseOf = (value: number, prefix: number): number => value - (value % sizeOf(prefix))

/** `172.17.0.1/16` as address and prefix, host bits kept. Errors: `bad-request`. */
export const parseCidr = (text: string): Ipv4Subnet => {
  const [address = '', length = '', ...rest] = text.split('/')
  if (rest.length > 0 || !/^\d{1,2}$/.test(length) || Number(length) > 32) {
    throw badRequest(`invalid CIDR address: ${text}`)
  }
  parseIpv4(address)
  return { address, prefix: Number(length) }
}

export const formatCidr = ({ address, prefix }: Ipv4Subnet): string => `${address}/${prefix}`

/** The subnet without host bits. */
export const networkOf = ({ address, prefix }: Ipv4Subnet): Ipv4Subnet => ({
  address: formatIpv4(baseOf(parseIpv4(address), prefix)),
  prefix,
})

/** Last address of a subnet. */
export const broadcastOf = (subnet: Ipv4Subnet): string =>
  formatIpv4(baseOf(parseIpv4(subnet.address), subnet.prefix) + sizeOf(subnet.prefix) - 1)

export const overlaps = (a: Ipv4Subnet, b: Ipv4Subnet): boolean => {
  const prefix = Math.min(a.prefix, b.prefix)
  return baseOf(parseIpv4(a.address), prefix) === baseOf(parseIpv4(b.address), prefix)
}

export const contains = (subnet: Ipv4Subnet, address: string): boolean =>
  overlaps(subnet, { address, prefix: 32 })

/** A range that is cut into subnets of one size. */
export interface SubnetPool {
  base: Ipv4Subnet
  /** Prefix length of each subnet. */
  size: number
}

/** Docker's default address pools, in its order. */
export const defaultPools: SubnetPool[] = [
  { base: { address: '172.17.0.0', prefix: 16 }, size: 16 },
  { base: { address: '172.18.0.0', prefix: 16 }, size: 16 },
  { base: { address: '172.19.0.0', prefix: 16 }, size: 16 },
  { base: { address: '172.20.0.0', prefix: 14 }, size: 16 },
  { base: { address: '172.24.0.0', prefix: 14 }, size: 16 },
  { base: { address: '172.28.0.0', prefix: 14 }, size: 16 },
  { base: { address: '192.168.0.0', prefix: 16 }, size: 20 },
]

/**
 * The first subnet of the pools that overlaps nothing in `taken` (host routes
 * and other networks; a default route takes nothing). Errors: `unavailable`.
 */
export const chooseSubnet = (pools: SubnetPool[], taken: Ipv4Subnet[]): Ipv4Subnet => {
  const obstacles = taken
    .filter(subnet => subnet.prefix > 0)
    .map(subnet => {
      const first = parseIpv4(networkOf(subnet).address)
      return { first, last: first + sizeOf(subnet.prefix) - 1 }
    })
  for (const { base, size } of pools) {
    const start = parseIpv4(networkOf(base).address)
    const step = sizeOf(size)
    for (let at = start; at + step <= start + sizeOf(base.prefix); at += step) {
      const blocked = obstacles.some(({ first, last }) => first < at + step && last >= at)
      if (!blocked) return { address: formatIpv4(at), prefix: size }
    }
  }
  throw unavailable(
    'all predefined address pools have been fully subnetted: remove unused networks or give a subnet',
  )
}
