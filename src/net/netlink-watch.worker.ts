import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '../core/errors.ts'
import { SystemError, sys } from '../linux/ffi.ts'
import { receiveNetlink } from '../linux/netlink.ts'
import { ruleMessage } from '../linux/nfnetlink.ts'
import { type Nftables, openNftables } from '../linux/nftables.ts'
import { goneLink } from '../linux/rtnetlink.ts'
import { isNewRoute } from '../linux/rtnetlink-routes.ts'
import { examineForeign } from './firewall/examine.ts'
import type { ForeignChain } from './firewall/foreign.ts'

/** Blocks on multicast netlink sockets and tells which links ended and which rules changed, until it is woken to end. */

export interface WatchData {
  netlinkFd: number
  /** An eventfd: readable once the worker shall end. */
  wakeFd: number
  /** Undefined: rules are not watched. */
  rules: { netlinkFd: number; table: string; ownPid: number } | undefined
}

/**
 * `gone`: names of links. `routes`: some were added. `overrun`: messages about links were lost, look for yourself. `disturbed`: another program
 * changed something in our table, or may have. `foreign`: what the rules of others are, at first and after a change.
 */
export type WatchMessage =
  | { kind: 'gone'; names: string[] }
  | { kind: 'overrun' }
  | { kind: 'routes' }
  | { kind: 'disturbed'; program: string }
  | { kind: 'foreign'; chains: ForeignChain[] }
  | { kind: 'unreadable'; reason: string }

const POLLIN = 1
const poll = sys('int poll(void *fds, unsigned long count, int timeout)')

const { netlinkFd, wakeFd, rules }: WatchData = workerData

const tell = (message: WatchMessage): void => parentPort?.postMessage(message)

/** Changes of others that follow one another are looked at together. */
const settleMs = 50

/** A descriptor below 0 is passed over by the kernel. */
const descriptors = [netlinkFd, wakeFd, rules?.netlinkFd ?? -1]

/** Which of the descriptors can be read; none after `timeout` ms. */
const readable = (timeout: number): boolean[] => {
  const fds = Buffer.alloc(8 * descriptors.length)
  for (const [i, fd] of descriptors.entries()) {
    fds.writeInt32LE(fd, 8 * i)
    fds.writeInt16LE(POLLIN, 8 * i + 4)
  }
  try {
    poll(fds, descriptors.length, timeout)
  } catch (error) {
    if (error instanceof SystemError && error.code === 'EINTR') return []
    throw error
  }
  return descriptors.map((_, i) => fds.readInt16LE(8 * i + 6) !== 0)
}

/** Undefined where messages were lost. */
const received = (fd: number): ReturnType<typeof receiveNetlink> | undefined => {
  try {
    return receiveNetlink(fd)
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENOBUFS') return undefined
    throw error
  }
}

/** True where routes were added, or may have been. */
const reportLinks = (): boolean => {
  const messages = received(netlinkFd)
  const names = messages?.map(goneLink).filter(name => name !== undefined)
  if (!names) tell({ kind: 'overrun' })
  else if (names.length > 0) tell({ kind: 'gone', names })
  return messages?.some(isNewRoute) ?? true
}

let touched = false
let touchedOthers = false

/** Reads what changed; true where the rules of others may have. */
const reportRules = ({ netlinkFd: fd, table, ownPid }: NonNullable<WatchData['rules']>): boolean => {
  const messages = received(fd)
  if (!messages) {
    tell({ kind: 'disturbed', program: 'an unknown program' })
    return true
  }
  let others = false
  for (const message of messages.map(ruleMessage)) {
    if (message?.kind === 'change') {
      if (message.table === table) touched = true
      else touchedOthers = true
    }
    if (message?.kind !== 'end') continue
    // We, too, may have changed what is others'.
    if (touchedOthers || message.pid !== ownPid) others = true
    if (message.pid !== ownPid) {
      if (touched) tell({ kind: 'disturbed', program: message.program })
    }
    touched = false
    touchedOthers = false
  }
  return others
}

let nft: Nftables | undefined

const examine = (): void => {
  try {
    if (!nft) {
      const access = openNftables()
      if (!access.available) return
      nft = access.nft
    }
    tell({ kind: 'foreign', chains: examineForeign(nft) })
  } catch (error) {
    tell({ kind: 'unreadable', reason: messageOf(error) })
  }
}

let stale = rules !== undefined
let newRoutes = false
for (;;) {
  const [links, end, changes] = readable(stale || newRoutes ? settleMs : -1)
  if (end) break
  if (links && reportLinks()) newRoutes = true
  if (changes && rules && reportRules(rules)) stale = true
  if (links || changes) continue
  if (newRoutes) tell({ kind: 'routes' })
  newRoutes = false
  if (stale) examine()
  stale = false
}
nft?.close()
