import { notFound } from '../core/errors.ts'
import { AddressPool, type AddressPoolOptions } from './addresses.ts'
import { type Family, familyOf } from './subnets.ts'
import type { Endpoint } from './types.ts'

/** Both addresses of an endpoint, or its one. */
export const addressesOf = ({ ipv4, ipv6 }: Pick<Endpoint, 'ipv4' | 'ipv6'>): string[] => [
  ipv4,
  ...(ipv6 ? [ipv6] : []),
]

const keyOf = (networkId: string, family: Family): string => `${networkId} ${family}`

/** The address pools of all networks, one for each of their families. */
export class AddressBook {
  readonly #pools = new Map<string, AddressPool>()
  /** Addresses whose links are going, by network and address. */
  readonly #leaving = new Map<string, Promise<void>>()
  readonly #linkGone: (link: string) => Promise<boolean>

  /** `linkGone` resolves once a link is gone; to false where that will not be known. */
  constructor(linkGone: (link: string) => Promise<boolean>) {
    this.#linkGone = linkGone
  }

  /** Makes the pool of a network for the family of its subnet, where a daemon's life has none yet. */
  open(networkId: string, options: AddressPoolOptions): void {
    const key = keyOf(networkId, familyOf(options.subnet.address))
    if (!this.#pools.has(key)) this.#pools.set(key, new AddressPool(options))
  }

  /** Errors: `not-found` where the network has no addresses of the family. */
  pool(networkId: string, family: Family = 4): AddressPool {
    const known = this.#pools.get(keyOf(networkId, family))
    if (!known) throw notFound(`network ${networkId} has no addresses of IPv${family}`)
    return known
  }

  forget(networkId: string): void {
    for (const family of [4, 6] as const) this.#pools.delete(keyOf(networkId, family))
  }

  /** After a start: they are in use. Networks that are not known have no say. */
  adopt(endpoint: Endpoint): void {
    for (const address of addressesOf(endpoint))
      this.#pools.get(keyOf(endpoint.networkId, familyOf(address)))?.adopt(address)
  }

  /**
   * Takes an address that was asked for; waits where the link that had it is on its way out. Errors: those of
   * `AddressPool.claim`.
   */
  async claim(networkId: string, address: string): Promise<void> {
    await this.#leaving.get(`${networkId} ${address}`)
    this.pool(networkId, familyOf(address)).claim(address)
  }

  /** Gives the addresses of an endpoint back once its link is gone. */
  releaseLater(endpoint: Endpoint): void {
    const { networkId } = endpoint
    const gone = this.#linkGone(endpoint.hostLink)
    for (const address of addressesOf(endpoint)) {
      const pool = this.#pools.get(keyOf(networkId, familyOf(address)))
      const key = `${networkId} ${address}`
      const leaving = gone.then(isGone => {
        if (isGone) pool?.release(address)
        if (this.#leaving.get(key) === leaving) this.#leaving.delete(key)
      })
      this.#leaving.set(key, leaving)
    }
  }
}
