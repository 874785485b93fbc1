import { BerthError } from '../core/errors.ts'
import { familyOf } from './subnets.ts'
import type { PortRequest, Protocol, PublishedPort } from './types.ts'

/** Which host port belongs to which container, in memory. Pure state, no sockets. */

export interface PortRange {
  first: number
  last: number
}

/** Ephemeral ports, as Docker hands them out, where the host names no other range. */
export const defaultEphemeral: PortRange = { first: 32768, last: 60999 }

/** Whether who has one address has the other, too: a wildcard has all of its family. */
export const covers = (one: string, other: string): boolean =>
  one === other || (familyOf(one) === familyOf(other) && [one, other].some(isWildcard))

export const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::'

/** `127.0.0.1:80`, `[::1]:80` */
export const placeText = ({ hostIp, hostPort }: Pick<PublishedPort, 'hostIp' | 'hostPort'>): string =>
  familyOf(hostIp) === 6 ? `[${hostIp}]:${hostPort}` : `${hostIp}:${hostPort}`

/** A number, for ten thousand of them are asked for at once. */
export const portKey = (protocol: Protocol, port: number): number => port * 2 + (protocol === 'udp' ? 1 : 0)

interface Holding {
  hostIp: string
  containerId: string
}

export class PortTable {
  readonly #holdings = new Map<number, Holding[]>()
  readonly #ephemeral: PortRange
  readonly #next = new Map<Protocol, number>()

  constructor(ephemeral: PortRange = defaultEphemeral) {
    this.#ephemeral = ephemeral
  }

  /** The container that holds this port, on this address or on one that covers it. */
  holder({ protocol, hostIp, hostPort }: Omit<PublishedPort, 'containerPort'>): string | undefined {
    return this.#holdings.get(portKey(protocol, hostPort))?.find(held => covers(held.hostIp, hostIp))
      ?.containerId
  }

  take(containerId: string, { protocol, hostIp, hostPort }: PublishedPort): void {
    const key = portKey(protocol, hostPort)
    const held = this.#holdings.get(key)
    if (held) held.push({ hostIp, containerId })
    else this.#holdings.set(key, [{ hostIp, containerId }])
  }

  free(containerId: string, { protocol, hostIp, hostPort }: PublishedPort): void {
    const key = portKey(protocol, hostPort)
    const left = (this.#holdings.get(key) ?? []).filter(
      held => held.containerId !== containerId || held.hostIp !== hostIp,
    )
    if (left.length > 0) this.#holdings.set(key, left)
    else this.#holdings.delete(key)
  }

  /** Ports to try for a request, in order: its range, or the ephemeral ones from after the last given. */
  *candidates({ protocol, hostPortFirst, hostPortLast }: PortRequest): Generator<number> {
    if (hostPortFirst > 0) {
      for (let port = hostPortFirst; port <= hostPortLast; port++) yield port
      return
    }
    const { first, last } = this.#ephemeral
    const count = last - first + 1
    const start = this.#next.get(protocol) ?? first
    for (let tried = 0; tried < count; tried++) {
      const port = first + ((start - first + tried) % count)
      this.#next.set(protocol, port + 1)
      yield port
    }
  }
}

/** Docker's words for a port that another container has, with that container's name where it is known. */
export const portAllocated = (
  place: Pick<PublishedPort, 'hostIp' | 'hostPort'>,
  holder: string | undefined,
): BerthError => {
  const by = holder ? ` (by container ${holder})` : ''
  return new BerthError(
    'port-allocated',
    500,
    `Bind for ${placeText(place)} failed: port is already allocated${by}`,
  )
}

/** The same where none of a range is free; containers that have some of it are named. */
export const allPortsAllocated = (
  { hostIp, hostPortFirst, hostPortLast }: PortRequest,
  holders: string[],
): BerthError => {
  const range = hostPortFirst > 0 ? `:${hostPortFirst}-${hostPortLast}` : ''
  const by = holders.length > 0 ? ` (by container ${holders.join(', ')})` : ''
  return new BerthError(
    'port-allocated',
    500,
    `Bind for ${hostIp}${range} failed: all ports are allocated${by}`,
  )
}
