import { randomBytes } from 'node:crypto'
import { badRequest, conflict, unavailable } from '../core/errors.ts'
import {
  broadcastOf,
  contains,
  familyOf,
  formatAddress,
  formatCidr,
  networkOf,
  parseAddress,
  sizeOf,
  widthOf,
} from './subnets.ts'
import type { Subnet } from './types.ts'

/** Addresses of one subnet in memory. The engine's records are the lasting truth: a start claims them again. */

export interface AddressPoolOptions {
  subnet: Subnet
  /** Part of the subnet from which addresses are chosen; those asked for may lie outside. */
  range?: Subnet | undefined
  /** Never given away: the gateway, auxiliary addresses. */
  reserved?: string[]
}

/**
 * Gives out addresses next-fit: the one after the last given, so that an
 * address that was just freed comes back as late as possible (neighbours
 * still know it by its old owner).
 */
export class AddressPool {
  readonly subnet: Subnet
  readonly #first: bigint
  readonly #count: bigint
  readonly #used = new Set<bigint>()
  readonly #fixed = new Set<bigint>()
  #next = 0n

  constructor({ subnet, range, reserved = [] }: AddressPoolOptions) {
    this.subnet = networkOf(subnet)
    const chosen = networkOf(range ?? subnet)
    if (!contains(this.subnet, chosen.address) || chosen.prefix < subnet.prefix) {
      throw badRequest(`range ${formatCidr(chosen)} is not within subnet ${formatCidr(this.subnet)}`)
    }
    this.#first = parseAddress(chosen.address)
    this.#count = sizeOf(chosen)
    for (const address of [...endsOf(this.subnet), ...reserved]) this.#fixed.add(parseAddress(address))
  }

  /** Addresses that were given away. */
  get used(): number {
    return this.#used.size
  }

  /** Addresses that nobody may have or that somebody has, those of the subnet itself with them. */
  get inUse(): number {
    return this.#used.size + [...this.#fixed].filter(value => !this.#used.has(value)).length
  }

  /** Addresses that `allocate` can still give; no more than a double can tell apart. */
  get available(): number {
    const within = [...this.#used, ...[...this.#fixed].filter(value => !this.#used.has(value))].filter(
      value => value >= this.#first && value < this.#first + this.#count,
    )
    const left = this.#count - BigInt(within.length)
    return left > mostTold ? Number.MAX_SAFE_INTEGER : Number(left)
  }

  #taken(value: bigint): boolean {
    return this.#used.has(value) || this.#fixed.has(value)
  }

  /** The next free address. Errors: `unavailable` where there is none. */
  allocate(): string {
    for (let tried = 0n; tried < this.#count; tried++) {
      const value = this.#first + ((this.#next + tried) % this.#count)
      if (this.#taken(value)) continue
      this.#used.add(value)
      this.#next = value - this.#first + 1n
      return formatAddress(value, familyOf(this.subnet.address))
    }
    throw unavailable(
      `no available IPv${familyOf(this.subnet.address)} addresses on the network's pool ${formatCidr(this.subnet)}`,
    )
  }

  /** Takes a given address. Errors: `bad-request` outside the subnet, `conflict` where it is taken. */
  claim(address: string): void {
    const value = parseAddress(address)
    if (!contains(this.subnet, address)) {
      throw badRequest(`invalid address ${address}: it does not belong to subnet ${formatCidr(this.subnet)}`)
    }
    if (this.#taken(value)) throw conflict(`Address already in use: ${address}`)
    this.#used.add(value)
  }

  /** Takes an address that is known to be in use, where it is not taken yet: after a start. */
  adopt(address: string): void {
    const value = parseAddress(address)
    this.#used.add(value)
    const offset = value - this.#first
    if (offset >= 0n && offset < this.#count && offset >= this.#next) this.#next = offset + 1n
  }

  release(address: string): void {
    this.#used.delete(parseAddress(address))
  }
}

const mostTold = BigInt(Number.MAX_SAFE_INTEGER)

/** Addresses that stand for the subnet or for all in it. */
const endsOf = (subnet: Subnet): string[] => {
  const family = familyOf(subnet.address)
  if (subnet.prefix >= widthOf(family) - 1) return []
  return family === 4 ? [subnet.address, broadcastOf(subnet)] : [subnet.address]
}

/** `02:42:` and the IPv4 address: an address always has the same MAC, so no neighbour's memory of it goes stale. */
export const macOfAddress = (address: string): string => {
  const hex = parseAddress(address).toString(16).padStart(8, '0')
  return `02:42:${(hex.match(/../g) ?? []).join(':')}`
}

/** A random unicast address of the locally administered kind. */
export const randomMac = (): string => {
  const bytes = randomBytes(6)
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 2
  return (bytes.toString('hex').match(/../g) ?? []).join(':')
}

/** A MAC address in lower case with colons. Errors: `bad-request` for other texts and for multicast. */
export const parseMac = (text: string): string => {
  const mac = text.toLowerCase().replaceAll('-', ':')
  const unicast = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) || !unicast) {
    throw badRequest(`invalid MAC address: ${text}`)
  }
  return mac
}
