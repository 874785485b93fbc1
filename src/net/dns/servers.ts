import { UndoStack } from '../../core/disposal.ts'
import { internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { emptyAnswer, renderAnswer, renderRefusal } from './compose.ts'
import { exchange, type Transport } from './exchange.ts'
import { Forwarder } from './forwarder.ts'
import { type Listener, serveDatagrams, serveStreams } from './listeners.ts'
import { datagramLimit, parseQuery, rcode } from './message.ts'
import { answerOwn } from './own.ts'
import { closeSockets, openSockets, type SandboxSocket, type SandboxSockets } from './sockets.ts'
import type { NameServers, NameServersOptions } from './types.ts'

const streamLimit = 65_535

interface SandboxServer {
  udp: { name: string; listener: Listener }
  tcp: { name: string; listener: Listener }
}

interface KeptName {
  name: string
  containerId: string
  protocol: Transport
  port: number
}

const keptName = (containerId: string, protocol: Transport, port: number): string =>
  `dns:${containerId}:${protocol}:${port}`

const parseKeptName = (name: string): KeptName | undefined => {
  const match = /^dns:(.+):(udp|tcp):(\d+)$/.exec(name)
  if (!match?.[1]) return undefined
  return { name, containerId: match[1], protocol: match[2] as Transport, port: Number(match[3]) }
}

class Servers implements NameServers {
  readonly #options: NameServersOptions
  readonly #forwarder = new Forwarder({
    exchange,
    now: () => performance.now(),
    times: { stagger: 80, denial: 1000, deadline: 5000 },
    cacheBytes: 4 * 1024 * 1024,
    mostPerContainer: 256,
    mostAtOnce: 1024,
  })
  readonly #servers = new Map<string, SandboxServer>()

  constructor(options: NameServersOptions) {
    this.#options = options
  }

  async open(containerId: string): Promise<void> {
    if (this.#servers.has(containerId)) throw internal(`the name server of ${containerId} is open already`)
    const sockets = openSockets(this.#options.sandbox(containerId))
    await using undo = new UndoStack()
    undo.push('kept descriptors', () => this.#dropAll(containerId))
    try {
      failpoint('net.dns.sockets')
      await this.#keep(containerId, sockets)
      failpoint('net.dns.kept')
    } catch (error) {
      closeSockets(sockets.udp, sockets.tcp)
      throw error
    }
    await this.#serve(containerId, sockets)
    undo.push('listeners', async () => {
      await this.#stop(containerId)
    })
    failpoint('net.dns.served')
    undo.commit()
  }

  async close(containerId: string): Promise<void> {
    const server = await this.#stop(containerId)
    failpoint('net.dns.closed')
    if (!server) return this.#dropAll(containerId)
    await this.#options.keeper.drop(server.udp.name)
    await this.#options.keeper.drop(server.tcp.name)
  }

  async adopt(containerIds: readonly string[]): Promise<string[]> {
    const { keeper } = this.#options
    const changes: string[] = []
    const wanted = new Set(containerIds)
    const kept = new Map<string, KeptName[]>()
    for (const name of await keeper.names()) {
      const parsed = parseKeptName(name)
      if (!parsed) continue
      if (wanted.has(parsed.containerId)) {
        kept.set(parsed.containerId, [...(kept.get(parsed.containerId) ?? []), parsed])
        continue
      }
      await keeper.drop(name)
      changes.push(`dropped ${name}, which belongs to no container`)
    }
    for (const containerId of containerIds) {
      if (this.#servers.has(containerId)) continue
      const change = await this.#adoptOne(containerId, kept.get(containerId) ?? [])
      if (change !== undefined) changes.push(change)
    }
    return changes
  }

  async keepAgain(): Promise<void> {
    for (const { udp, tcp } of this.#servers.values())
      for (const { name, listener } of [udp, tcp]) await this.#options.keeper.keep(name, listener.fd)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forwarder.close()
    for (const containerId of [...this.#servers.keys()]) await this.#stop(containerId)
  }

  async #adoptOne(containerId: string, kept: KeptName[]): Promise<string | undefined> {
    const taken = { udp: await this.#take(kept, 'udp'), tcp: await this.#take(kept, 'tcp') }
    const { udp, tcp } = taken
    if (udp && tcp && kept.length === 2) {
      await this.#serve(containerId, { udp, tcp })
      return undefined
    }
    closeSockets(udp, tcp)
    for (const { name } of kept) await this.#options.keeper.drop(name)
    try {
      await this.open(containerId)
      return `opened again the name server of ${containerId}`
    } catch (error) {
      this.#options.onWarning?.(`the name server of ${containerId} cannot be opened: ${messageOf(error)}`)
      return `lost the name server of ${containerId}`
    }
  }

  async #take(kept: KeptName[], protocol: Transport): Promise<SandboxSocket | undefined> {
    const found = kept.find(each => each.protocol === protocol)
    if (!found) return undefined
    const fd = await this.#options.keeper.take(found.name)
    return fd === undefined ? undefined : { fd, port: found.port }
  }

  async #keep(containerId: string, { udp, tcp }: SandboxSockets): Promise<void> {
    await this.#options.keeper.keep(keptName(containerId, 'udp', udp.port), udp.fd)
    failpoint('net.dns.half')
    await this.#options.keeper.keep(keptName(containerId, 'tcp', tcp.port), tcp.fd)
  }

  async #dropAll(containerId: string): Promise<void> {
    for (const name of await this.#options.keeper.names())
      if (parseKeptName(name)?.containerId === containerId) await this.#options.keeper.drop(name)
  }

  /** Takes the descriptors over, also where it fails. */
  async #serve(containerId: string, { udp, tcp }: SandboxSockets): Promise<void> {
    const answer = (message: Buffer, transport: Transport) => this.#answer(containerId, message, transport)
    let datagrams: Listener
    try {
      datagrams = await serveDatagrams(udp.fd, answer)
    } catch (error) {
      closeSockets(tcp)
      throw error
    }
    try {
      const streams = await serveStreams(tcp.fd, answer)
      this.#servers.set(containerId, {
        udp: { name: keptName(containerId, 'udp', udp.port), listener: datagrams },
        tcp: { name: keptName(containerId, 'tcp', tcp.port), listener: streams },
      })
    } catch (error) {
      await datagrams.close()
      throw error
    }
  }

  async #stop(containerId: string): Promise<SandboxServer | undefined> {
    const server = this.#servers.get(containerId)
    this.#servers.delete(containerId)
    await server?.udp.listener.close()
    await server?.tcp.listener.close()
    return server
  }

  /** What a message in a sandbox is answered; undefined where it is dropped. Never rejects. */
  async #answer(containerId: string, message: Buffer, transport: Transport): Promise<Buffer | undefined> {
    const parsed = parseQuery(message)
    if ('drop' in parsed) return undefined
    if ('refusal' in parsed) return renderRefusal(parsed.refusal)
    const { query } = parsed
    const limit = transport === 'tcp' ? streamLimit : datagramLimit(query.edns)
    try {
      const names = this.#options.names(containerId)
      if (!names) return renderAnswer(query, emptyAnswer(rcode.refused), limit)
      const own = answerOwn(names, query.question)
      const upstreams = own ? [] : names.upstreams()
      const answer = own ?? (await this.#forwarder.ask(query, { containerId, upstreams, transport }))
      return renderAnswer(query, answer, limit)
    } catch (error) {
      this.#options.onWarning?.(`a question of ${containerId} could not be answered: ${messageOf(error)}`)
      return renderAnswer(query, emptyAnswer(rcode.servFail), limit)
    }
  }
}

/** The name servers of one daemon; nothing is open yet. Call `adopt` once after a start. */
export const openNameServers = (options: NameServersOptions): NameServers => new Servers(options)
