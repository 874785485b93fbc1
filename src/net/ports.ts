import { BerthError, messageOf } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { SystemError } from '../linux/ffi.ts'
import { portHolder } from './port-holder.ts'
import { boundPorts, closeSocket, holdPort } from './port-sockets.ts'
import {
  allPortsAllocated,
  covers,
  type PortRange,
  PortTable,
  placeText,
  portAllocated,
  portKey,
} from './port-table.ts'
import type { PortKeeper, PortRequest, PublishedPort } from './types.ts'

/** Chooses host ports and holds them. */

/** A container with more ports than this is checked once, not held by sockets. */
const heldAtMost = 64

export interface PortAllocatorOptions {
  keeper: PortKeeper
  ephemeral?: PortRange
  /** Name of a container, for the message when its port is asked for again. */
  containerName?: ((containerId: string) => string | undefined) | undefined
}

/** The addresses of the host at which one port is to be had. */
export interface AddressedRequest extends PortRequest {
  addresses: readonly string[]
}

/** Tells whether a port can be had, and takes it: a descriptor, undefined where none is needed. */
type Taker = (port: PublishedPort) => number | undefined

interface Taken {
  port: PublishedPort
  fd: number | undefined
}

const keeperName = (containerId: string, { protocol, hostIp, hostPort }: PublishedPort): string =>
  `port:${containerId}:${protocol}:${hostIp}:${hostPort}`

const reasons: Record<string, string> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EACCES: 'permission denied',
}

const bindFailure = (port: PublishedPort, error: unknown): BerthError => {
  const code = error instanceof SystemError ? error.code : ''
  const place = `${placeText(port)}/${port.protocol}`
  const holder = code === 'EADDRINUSE' ? portHolder(port) : undefined
  const reason = `${reasons[code] ?? messageOf(error)}${holder ? ` (by ${holder})` : ''}`
  return new BerthError('bind-failed', 500, `failed to bind host port for ${place}: ${reason}`, {
    cause: error,
  })
}

/** Takes ports by a look at one listing of the host's sockets. */
const byListing = (): Taker => {
  const used = new Map<number, string[]>()
  for (const { protocol, address, port } of boundPorts()) {
    const key = portKey(protocol, port)
    const held = used.get(key)
    if (held) held.push(address)
    else used.set(key, [address])
  }
  return ({ protocol, hostIp, hostPort }) => {
    const clash = used.get(portKey(protocol, hostPort))?.some(address => covers(address, hostIp))
    if (clash) throw new SystemError('bind', 98, `${hostIp}:${hostPort}`)
    return undefined
  }
}

/** How many ports would do: fixed ones choose first, so that a range does not take one of them away. */
const freedom = ({ hostPortFirst, hostPortLast }: PortRequest): number =>
  hostPortFirst === 0 ? 65536 : hostPortLast - hostPortFirst

export class PortAllocator {
  readonly #table: PortTable
  readonly #keeper: PortKeeper
  readonly #containerName: (containerId: string) => string | undefined

  constructor({ keeper, ephemeral, containerName = () => undefined }: PortAllocatorOptions) {
    this.#table = new PortTable(ephemeral)
    this.#keeper = keeper
    this.#containerName = containerName
  }

  /**
   * Chooses and holds a host port for each request, the same at all its addresses, all or none. Errors:
   * `port-allocated` where another container has it, `bind-failed` where another
   * program has it or the host has no such address.
   */
  async reserve(containerId: string, requests: AddressedRequest[]): Promise<PublishedPort[]> {
    const take = requests.length > heldAtMost ? byListing() : holdPort
    const taken: Taken[] = []
    try {
      const ports = new Map<PortRequest, PublishedPort[]>()
      for (const request of requests.toSorted((a, b) => freedom(a) - freedom(b))) {
        const entries = this.#choose(containerId, request, take)
        taken.push(...entries)
        ports.set(
          request,
          entries.map(({ port }) => port),
        )
      }
      failpoint('net.connect.bound')
      await this.#keep(containerId, taken)
      return requests.flatMap(request => ports.get(request) ?? [])
    } catch (error) {
      for (const { port } of taken) this.#table.free(containerId, port)
      throw error
    } finally {
      for (const { fd } of taken) if (fd !== undefined) closeSocket(fd)
    }
  }

  #choose(containerId: string, request: AddressedRequest, take: Taker): Taken[] {
    const fixed = request.hostPortFirst > 0 && request.hostPortFirst === request.hostPortLast
    const { protocol, containerPort } = request
    const holders: string[] = []
    for (const hostPort of this.#table.candidates(request)) {
      const ports = request.addresses.map(hostIp => ({ protocol, containerPort, hostIp, hostPort }))
      const held = ports.find(port => this.#table.holder(port) !== undefined)
      const holder = held && this.#table.holder(held)
      if (held && holder !== undefined) {
        if (fixed) throw portAllocated(held, this.#containerName(holder))
        holders.push(this.#containerName(holder) ?? holder)
        continue
      }
      const taken = this.#takeAll(containerId, ports, { take, fixed })
      if (taken) return taken
    }
    const hostIp = request.addresses[0] ?? ''
    throw allPortsAllocated({ ...request, hostIp }, [...new Set(holders)])
  }

  /** Undefined where one of them is busy, and another number may do. */
  #takeAll(
    containerId: string,
    ports: PublishedPort[],
    { take, fixed }: { take: Taker; fixed: boolean },
  ): Taken[] | undefined {
    const taken: Taken[] = []
    for (const port of ports) {
      try {
        taken.push({ port, fd: take(port) })
        this.#table.take(containerId, port)
      } catch (error) {
        for (const { port: given, fd } of taken) {
          this.#table.free(containerId, given)
          if (fd !== undefined) closeSocket(fd)
        }
        const busy = error instanceof SystemError && error.code === 'EADDRINUSE'
        if (fixed || !busy) throw bindFailure(port, error)
        return undefined
      }
    }
    return taken
  }

  async #keep(containerId: string, taken: Taken[]): Promise<void> {
    const kept = await Promise.allSettled(
      taken.flatMap(({ port, fd }) =>
        fd === undefined ? [] : [this.#keeper.keep(keeperName(containerId, port), fd)],
      ),
    )
    const failed = kept.find(result => result.status === 'rejected')
    if (!failed) return
    const ports = taken.map(({ port }) => port)
    await Promise.allSettled(ports.map(port => this.#keeper.drop(keeperName(containerId, port))))
    throw failed.reason
  }

  /** Lets go of ports; those not held are no error. */
  async release(containerId: string, ports: PublishedPort[]): Promise<void> {
    for (const port of ports) this.#table.free(containerId, port)
    if (ports.length > heldAtMost) return
    await Promise.all(ports.map(port => this.#keeper.drop(keeperName(containerId, port))))
  }

  /**
   * After a start: takes what running containers have, holds again what the
   * keeper lost where that is still possible, and drops what belongs to none.
   * Gives one line for each change.
   */
  async adopt(owners: { containerId: string; published: PublishedPort[] }[]): Promise<string[]> {
    const kept = new Set(await this.#keeper.names())
    const wanted = new Set<string>()
    const changes: string[] = []
    for (const { containerId, published } of owners) {
      for (const port of published) {
        this.#table.free(containerId, port)
        this.#table.take(containerId, port)
        if (published.length > heldAtMost) continue
        const name = keeperName(containerId, port)
        wanted.add(name)
        if (!kept.has(name)) changes.push(await this.#holdAgain(name, port))
      }
    }
    for (const name of kept) {
      if (!name.startsWith('port:') || wanted.has(name)) continue
      await this.#keeper.drop(name)
      changes.push(`dropped reservation ${name}`)
    }
    return changes
  }

  /** While containers run: holds again what a lost keeper held. */
  async reserveAgain(owners: readonly { containerId: string; published: PublishedPort[] }[]): Promise<void> {
    const kept = new Set(await this.#keeper.names())
    for (const { containerId, published } of owners) {
      if (published.length > heldAtMost) continue
      for (const port of published) {
        const name = keeperName(containerId, port)
        if (!kept.has(name)) await this.#holdAgain(name, port)
      }
    }
  }

  async #holdAgain(name: string, port: PublishedPort): Promise<string> {
    try {
      const fd = holdPort(port)
      try {
        await this.#keeper.keep(name, fd)
      } finally {
        closeSocket(fd)
      }
      return `reserved again ${name}`
    } catch (error) {
      // Its traffic is translated all the same; only the guard against others is missing.
      return `cannot reserve ${name}: ${messageOf(error)}`
    }
  }
}
