import { parentPort, workerData } from 'node:worker_threads'
import { SystemError, sys } from '../linux/ffi.ts'
import { receiveNetlink } from '../linux/netlink.ts'
import { goneLink } from '../linux/rtnetlink.ts'

/** Blocks on a multicast netlink socket and tells which links ended, until it is woken to end. */

export interface WatchData {
  netlinkFd: number
  /** An eventfd: readable once the worker shall end. */
  wakeFd: number
}

/** `gone`: names of links. `overrun`: messages were lost, look for yourself. */
export type WatchMessage = { kind: 'gone'; names: string[] } | { kind: 'overrun' }

const POLLIN = 1
const poll = sys('int poll(void *fds, unsigned long count, int timeout)')

const { netlinkFd, wakeFd }: WatchData = workerData

const tell = (message: WatchMessage): void => parentPort?.postMessage(message)

const waitForEither = (): { message: boolean; end: boolean } => {
  const fds = Buffer.alloc(16)
  fds.writeInt32LE(netlinkFd, 0)
  fds.writeInt16LE(POLLIN, 4)
  fds.writeInt32LE(wakeFd, 8)
  fds.writeInt16LE(POLLIN, 12)
  try {
    poll(fds, 2, -1)
  } catch (error) {
    if (error instanceof SystemError && error.code === 'EINTR') return { message: false, end: false }
    throw error
  }
  return { message: fds.readInt16LE(6) !== 0, end: fds.readInt16LE(14) !== 0 }
}

const report = (): void => {
  try {
    const names = receiveNetlink(netlinkFd)
      .map(goneLink)
      .filter(name => name !== undefined)
    if (names.length > 0) tell({ kind: 'gone', names })
  } catch (error) {
    if (!(error instanceof SystemError && error.code === 'ENOBUFS')) throw error
    tell({ kind: 'overrun' })
  }
}

for (;;) {
  const { message, end } = waitForEither()
  if (end) break
  if (message) report()
}
