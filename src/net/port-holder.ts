import fs from 'node:fs'
import { boundPorts } from './port-sockets.ts'
import { covers } from './port-table.ts'
import type { PublishedPort } from './types.ts'

/** Which program of the host's has a port, for the message that it is taken. */

/** The search goes through all processes; it ends after this time without an answer. */
const budgetMs = 50

const entries = (folder: string): string[] => {
  try {
    return fs.readdirSync(folder)
  } catch {
    // The process ended, or is another user's.
    return []
  }
}

const holds = (pid: string, link: string): boolean =>
  entries(`/proc/${pid}/fd`).some(fd => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`) === link
    } catch {
      return false
    }
  })

const programOf = (pid: string): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

/** `nginx, process 123`; undefined where it cannot be told, or not soon. */
export const portHolder = ({
  protocol,
  hostIp,
  hostPort,
}: Omit<PublishedPort, 'containerPort'>): string | undefined => {
  const socket = boundPorts().find(
    ({ port, address, ...bound }) =>
      port === hostPort && bound.protocol === protocol && covers(address, hostIp),
  )
  // Of a connection that lingers no process has a socket.
  if (!socket || socket.inode === 0) return undefined
  const link = `socket:[${socket.inode}]`
  const end = performance.now() + budgetMs
  for (const pid of entries('/proc').filter(name => /^\d+$/.test(name))) {
    if (performance.now() > end) return undefined
    if (holds(pid, link)) return `${programOf(pid)}, process ${pid}`
  }
  return undefined
}
