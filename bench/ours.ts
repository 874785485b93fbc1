import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { TestDaemon } from '../tests/harness/daemon.ts'
import { bornIn, makeGroup, processesOf } from './groups.ts'
import type { Engine } from './types.ts'

/** Berth in a network namespace and control groups of its own. */
export interface Ours extends Engine {
  readonly daemon: TestDaemon
  /** Kills the daemon and starts it anew. */
  restart(): Promise<void>
  /** Pids of all monitors. */
  monitors(): number[]
  close(): Promise<void>
}

/** Proportional set size of a process, MiB. */
export const pssOf = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024

/**
 * Resident set of a process, the most that it was since `resetPeak`, and the part of it that maps files, MiB: that one is
 * the page cache's.
 */
export const residentOf = (pid: number): { now: number; peak: number; files: number } => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024
  return { now: field('VmRSS'), peak: field('VmHWM'), files: field('RssFile') }
}

export const resetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5')

/** A runtime that ends just now shares the monitors' group. */
const isMonitor = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'berth-monitor'
  } catch {
    return false
  }
}

export const startOurs = async (
  base: string,
  options: { runtime?: string; env?: Record<string, string> } = {},
): Promise<Ours> => {
  const group = makeGroup(`${base}/ours`)
  const containers = path.join('/', group.path, 'containers')
  const daemon = new TestDaemon({
    flags: ['--cgroup-parent', containers],
    ...options,
  })
  await daemon.prepare()
  await bornIn(group, () => daemon.start())
  await daemon.loadBusybox()
  return {
    name: 'berth',
    group,
    daemon,
    socket: daemon.socket,
    namespace: daemon.namespace,
    restart: async () => {
      await daemon.kill()
      await bornIn(group, () => daemon.start())
    },
    monitors: () => processesOf(path.join(group.path, 'containers/monitors')).filter(isMonitor),
    close: () => daemon.close(),
  }
}
