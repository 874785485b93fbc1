import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A process of ours holds something below exec-root open: its run directory, or the store's lock. */
const holdsBelow = (pid: string, execRoot: string): boolean => {
  try {
    return readdirSync(`/proc/${pid}/fd`).some(fd =>
      readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(`${execRoot}/`),
    )
  } catch {
    return false
  }
}

export interface MonitorProcess {
  pid: number
  /** Of a container or an exec; empty for the descriptor store. */
  id: string
}

/** The processes that outlive a daemon: monitors and the descriptor store. */
export const monitorsOf = (execRoot: string): MonitorProcess[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const [program, verb, subject = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        if (program !== 'berth-monitor') return []
        if (verb === 'hold') return subject === execRoot ? [{ pid: Number(pid), id: '' }] : []
        return holdsBelow(pid, execRoot) ? [{ pid: Number(pid), id: subject }] : []
      } catch {
        return []
      }
    })
