import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import { badRequest, unavailable } from '../core/errors.ts'
import { ipBytes, ipText } from '../linux/ipBytes.ts'
import type { Subnet } from './types.ts'

/** Arithmetic of addresses of both families, and the choice of a subnet for a new network. Pure. */

export type Family = 4 | 6

/** Bits of an address. */
export const widthOf = (family: Family): number => (family === 4 ? 32 : 128)

export const familyOf = (address: string): Family => (address.includes(':') ? 6 : 4)

/** Good on its link alone. */
export const isLinkLocal = (address: string): boolean => address.startsWith('fe80:')

/** An address of either family as an unsigned number. Errors: `bad-request`. */
export const parseAddress = (text: string): bigint => {
  if (isIP(text) === 0 || text.includes('%')) throw badRequest(`invalid IP address: ${text}`)
  return BigInt(`0x${ipBytes(text).toString('hex')}`)
}

/** In the form of RFC 5952. */
export const formatAddress = (value: bigint, family: Family): string =>
  ipText(Buffer.from(value.toString(16).padStart(widthOf(family) / 4, '0'), 'hex'))

/** Errors: `bad-request` for another text, and for an address of the other family. */
export const checkFamily = (text: string, family: Family): void => {
  if (isIP(text) !== family) throw badRequest(`invalid IPv${family} address: ${text}`)
}

/** As `formatAddress` writes it. Errors: `bad-request`. */
export const canonical = (address: string): string => formatAddress(parseAddress(address), familyOf(address))

/** Number of addresses of a subnet. */
export const sizeOf = ({ address, prefix }: Subnet): bigint =>
  1n << BigInt(widthOf(familyOf(address)) - prefix)

/** First address of a subnet. */
const baseOf = (subnet: Subnet): bigint => {
  const value = parseAddress(subnet.address)
  return value - (value % sizeOf(subnet))
}

/** `172.17.0.1/16` or `fd00::1/64` as address and prefix, host bits kept. Errors: `bad-request`. */
export const parseCidr = (text: string): Subnet => {
  const [address = '', length = '', ...rest] = text.split('/')
  const fits = /^\d{1,3}$/.test(length) && Number(length) <= widthOf(familyOf(address))
  if (rest.length > 0 || !fits) throw badRequest(`invalid CIDR address: ${text}`)
  return { address: canonical(address), prefix: Number(length) }
}

export const formatCidr = ({ address, prefix }: Subnet): string => `${address}/${prefix}`

/** The subnet without host bits. */
export const networkOf = (subnet: Subnet): Subnet => ({
  address: formatAddress(baseOf(subnet), familyOf(subnet.address)),
  prefix: subnet.prefix,
})

/** Address by its place in a subnet, from 0. */
export const addressAt = (subnet: Subnet, offset: bigint): string =>
  formatAddress(baseOf(subnet) + offset, familyOf(subnet.address))

/** Last address of a subnet. */
export const broadcastOf = (subnet: Subnet): string => addressAt(subnet, sizeOf(subnet) - 1n)

export const overlaps = (a: Subnet, b: Subnet): boolean => {
  if (familyOf(a.address) !== familyOf(b.address)) return false
  const prefix = Math.min(a.prefix, b.prefix)
  return baseOf({ ...a, prefix }) === baseOf({ ...b, prefix })
}

export const contains = (subnet: Subnet, address: string): boolean =>
  overlaps(subnet, { address, prefix: widthOf(familyOf(address)) })

/** A range that is cut into subnets of one size. */
export interface SubnetPool {
  base: Subnet
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

/** A /48 of unique local addresses (RFC 4193) that is this daemon's own. */
const uniqueLocal = (id: string): SubnetPool => {
  const hex = createHash('sha256').update(id).digest('hex')
  const text = `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}::`
  return { base: { address: canonical(text), prefix: 48 }, size: 64 }
}

/** The pools that were given, and what stands for a family of which none was. `id` is the daemon's. */
export const poolsFor = (given: readonly SubnetPool[], id: string): SubnetPool[] => {
  const [ipv4 = [], ipv6 = []] = [4, 6].map(family =>
    given.filter(({ base }) => familyOf(base.address) === family),
  )
  return [...(ipv4.length > 0 ? ipv4 : defaultPools), ...(ipv6.length > 0 ? ipv6 : [uniqueLocal(id)])]
}

/**
 * The first subnet of the pools that overlaps nothing in `taken` (host routes
 * and other networks; a default route takes nothing). Errors: `unavailable`.
 */
export const chooseSubnet = (pools: SubnetPool[], taken: Subnet[]): Subnet => {
  for (const { base, size } of pools) {
    const family = familyOf(base.address)
    const obstacles = taken
      .filter(subnet => subnet.prefix > 0 && familyOf(subnet.address) === family)
      .map(subnet => ({ first: baseOf(subnet), last: baseOf(subnet) + sizeOf(subnet) - 1n }))
    const step = sizeOf({ ...base, prefix: size })
    const end = baseOf(base) + sizeOf(base)
    for (let at = baseOf(base); at + step <= end; at += step) {
      const blocked = obstacles.some(({ first, last }) => first < at + step && last >= at)
      if (!blocked) return { address: formatAddress(at, family), prefix: size }
    }
  }
  throw unavailable(
    'all predefined address pools have been fully subnetted: remove unused networks or give a subnet',
  )
}
