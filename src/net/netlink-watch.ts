import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { sys } from '../linux/ffi.ts'
import { NetlinkSocket, openNetlink, protocols } from '../linux/netlink.ts'
import { askGeneration, nftablesGroup } from '../linux/nfnetlink.ts'
import { findLink } from '../linux/rtnetlink.ts'
import type { ForeignChain } from './firewall/foreign.ts'
import type { WatchData, WatchMessage } from './netlink-watch.worker.ts'

/** Tells when a link of the host's namespace is gone, and when its routes or the rules of others change: multicast listeners in one worker. */

const RTMGRP_LINK = 1
const RTMGRP_IPV4_ROUTE = 0x40
const RTMGRP_IPV6_ROUTE = 0x400
const EFD_CLOEXEC = 0o2000000

const eventfd = sys('int eventfd(unsigned int initial, int flags)')
const write = sys('long write(int fd, const void *bytes, size_t length)')
const close = sys('int close(int fd)')

/** What to do when others change rules of nftables. */
export interface RuleListener {
  /** Name of our table. */
  table: string
  /** Something in our table was changed by this program, or may have been. */
  disturbed(program: string): void
  /** The rules of others as they are now. */
  foreign(chains: ForeignChain[]): void
  /** They cannot be read. */
  unreadable(reason: string): void
}

const watchRules = (table: string): WatchData['rules'] => {
  using socket = new NetlinkSocket(protocols.netfilter)
  const { ownPid } = askGeneration(socket)
  return { netlinkFd: openNetlink(protocols.netfilter, nftablesGroup), table, ownPid }
}

export class NetlinkWatch {
  readonly #socket: NetlinkSocket
  readonly #data: WatchData
  readonly #rules: RuleListener | undefined
  readonly #worker: Worker
  readonly #waiting = new Map<string, ((gone: boolean) => void)[]>()
  #routes = (): void => {}
  #closed = false
  // Node joins its workers when the process ends: one that waits in the kernel must be woken first.
  readonly #wake = (): void => {
    const one = Buffer.alloc(8)
    one.writeUInt32LE(1)
    write(this.#data.wakeFd, one, 8)
  }

  /** `socket` speaks rtnetlink in the host's namespace, and so does the thread that calls. */
  constructor(socket: NetlinkSocket, rules?: RuleListener) {
    this.#socket = socket
    this.#rules = rules
    this.#data = {
      netlinkFd: openNetlink(protocols.route, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE),
      wakeFd: eventfd(0, EFD_CLOEXEC),
      rules: rules && watchRules(rules.table),
    }
    this.#worker = new Worker(new URL('./netlink-watch.worker.ts', import.meta.url), {
      workerData: this.#data,
    })
    this.#worker.unref()
    this.#worker.on('message', (message: WatchMessage) => this.#hear(message))
    process.once('exit', this.#wake)
  }

  #hear(message: WatchMessage): void {
    if (this.#closed) return
    if (message.kind === 'disturbed') this.#rules?.disturbed(message.program)
    else if (message.kind === 'foreign') this.#rules?.foreign(message.chains)
    else if (message.kind === 'unreadable') this.#rules?.unreadable(message.reason)
    else if (message.kind === 'routes') this.#routes()
    else this.#hearOfLinks(message)
  }

  #hearOfLinks(message: Extract<WatchMessage, { kind: 'gone' | 'overrun' }>): void {
    const names =
      message.kind === 'gone'
        ? message.names
        : [...this.#waiting.keys()].filter(name => findLink(this.#socket, name) === undefined)
    for (const name of names) this.#settle(name, true)
  }

  /** From now on, `listener` is called when routes of the host were added. */
  onRoutes(listener: () => void): void {
    this.#routes = listener
  }

  #settle(name: string, gone: boolean): void {
    for (const resolve of this.#waiting.get(name) ?? []) resolve(gone)
    this.#waiting.delete(name)
  }

  /** Resolves once no link has this name: true; false where the watch was closed before. */
  gone(name: string): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false)
    return new Promise(resolve => {
      const waiting = this.#waiting.get(name)
      if (waiting) waiting.push(resolve)
      else this.#waiting.set(name, [resolve])
      // It may have ended before anyone listened for it.
      if (findLink(this.#socket, name) === undefined) this.#settle(name, true)
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    process.off('exit', this.#wake)
    const ended = once(this.#worker, 'exit')
    this.#worker.ref()
    this.#wake()
    await ended
    const { netlinkFd, wakeFd, rules } = this.#data
    for (const fd of [netlinkFd, wakeFd, ...(rules ? [rules.netlinkFd] : [])]) close(fd)
    for (const name of [...this.#waiting.keys()]) this.#settle(name, false)
  }
}
