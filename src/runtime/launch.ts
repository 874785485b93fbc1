import { closeSync, openSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { asBerthError, BerthError, hasCode, messageOf } from '../core/errors.ts'
import { closeDescriptor, duplicateDescriptor, socketPair } from '../linux/descriptors.ts'
import { spawnDetached } from '../linux/spawn.ts'
import { openMonitor } from './monitor.ts'
import { encodeMonitorSpec } from './monitorSpec.ts'
import { sealedProgram } from './sealedProgram.ts'
import type { MonitorClient, MonitorEvents, MonitorSpec } from './types.ts'

const unstartable = (error: unknown): string =>
  hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')
    ? `${messageOf(error)}; check that it is installed and executable`
    : asBerthError(error).message

export interface LaunchOptions {
  /** Absolute path of berth-monitor. */
  binary: string
  events?: Partial<MonitorEvents>
  /** Makes it, where it can: in a fraction of the time, in its own cgroups and environment. */
  parent?: MonitorClient | undefined
  /** Added to the environment of the monitor, and so of the runtime. */
  env?: Record<string, string>
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What a runtime may need to find its tools and, without root, its own place. */
const environment = (added: Record<string, string>): Record<string, string> => {
  const env: Record<string, string> = { PATH: process.env['PATH'] ?? defaultPath }
  for (const name of ['HOME', 'TMPDIR', 'XDG_RUNTIME_DIR', 'DBUS_SESSION_BUS_ADDRESS']) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return { ...env, ...added }
}

/** Runs berth-monitor with one end of a new socket pair between its descriptors; returns the other end. */
const start = (
  binary: string,
  options: { args: string[]; fds: number[]; after?: number[]; env: Record<string, string> },
): number => {
  const [ours, theirs] = socketPair()
  try {
    spawnDetached({
      file: binary,
      args: ['berth-monitor', ...options.args],
      env: environment(options.env),
      descriptors: [...options.fds, theirs, ...(options.after ?? [])],
    })
    return ours
  } catch (error) {
    closeDescriptor(ours)
    throw new BerthError('monitor-not-started', 500, `cannot start ${binary}: ${unstartable(error)}`, {
      cause: error,
    })
  } finally {
    closeDescriptor(theirs)
  }
}

/** The new monitor's hello is not waited for by way of its parent's answer. */
const launchBy = async (
  parent: MonitorClient,
  descriptors: { spec: number; program: number | undefined },
  events?: Partial<MonitorEvents>,
): Promise<MonitorClient> => {
  const { spec, program } = descriptors
  const [ours, control] = socketPair()
  const opened = openMonitor(ours, events)
  try {
    await parent.fork({
      spec,
      control,
      program: program === undefined ? undefined : duplicateDescriptor(program),
    })
  } catch (error) {
    // It ends by itself: the other end is closed.
    opened.catch(() => {})
    throw error
  }
  return opened
}

/**
 * Starts a monitor for one run or exec; nothing of it runs before `start()`.
 * The specification stays in the run directory as `spec`. Rejects with what the
 * monitor said where it could not set itself up.
 */
export const launchMonitor = async (spec: MonitorSpec, options: LaunchOptions): Promise<MonitorClient> => {
  const file = path.join(spec.directory, 'spec')
  const program = spec.runtime.sealed ? sealedProgram(spec.runtime.path) : undefined
  writeFileSync(file, encodeMonitorSpec(spec, program !== undefined), { mode: 0o600 })
  const specFd = openSync(file, 'r')
  if (options.parent?.canFork) return launchBy(options.parent, { spec: specFd, program }, options.events)
  let fd: number
  try {
    // In the order that the monitor has them: the specification, its connection, the runtime.
    fd = start(options.binary, {
      args: ['run', spec.id],
      fds: [specFd],
      after: program === undefined ? [] : [program],
      env: options.env ?? {},
    })
  } finally {
    closeSync(specFd)
  }
  return openMonitor(fd, options.events)
}

/** Starts a descriptor store; returns its first connection. It says an error there where another one runs. */
export const launchHolder = (
  execRoot: string,
  options: { binary: string; groups?: readonly string[]; env?: Record<string, string> },
): number =>
  start(options.binary, {
    args: ['hold', execRoot, ...(options.groups ?? [])],
    fds: [],
    env: options.env ?? {},
  })
