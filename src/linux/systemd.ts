import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

/** What systemd, as the init, is asked for: org.freedesktop.systemd1(5), by way of busctl(1). */

/** The service that this process runs in, such as `berth.service`; empty where it is none of systemd's. */
export const ownUnit = (): string => {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n')
  const line = lines.find(text => /^\d+:(name=systemd)?:/.test(text)) ?? ''
  return /\/([\w:.@-]+\.service)$/.exec(line)?.[1] ?? ''
}

/** Microseconds for what does not end at the host's shutdown. */
const stopTimeout = 20_000_000

export interface Scope {
  /** `berth-monitors.scope` */
  name: string
  /** `system.slice` */
  slice: string
  description: string
  /** Who is in it from the start; it ends with the last process in it. */
  pid: number
  /** Units that are to be stopped before it when the host goes down; empty for none. */
  stoppedAfter: string[]
}

/** A delegated scope; one of this name that is there already is left as it is. Rejects with what systemd said. */
export const openScope = async (scope: Scope): Promise<void> => {
  const { name, slice, description, pid, stoppedAfter: before } = scope
  const properties: [string, ...string[]][] = [
    ['PIDs', 'au', '1', `${pid}`],
    ['Description', 's', description],
    ['Slice', 's', slice],
    ['Delegate', 'b', 'true'],
    ['CollectMode', 's', 'inactive-or-failed'],
    ['TasksMax', 't', `${2n ** 64n - 1n}`],
    ['TimeoutStopUSec', 't', `${stopTimeout}`],
    // What is started before is stopped after.
    ...(before.length ? [['Before', 'as', `${before.length}`, ...before] as [string, ...string[]]] : []),
  ]
  const call = ['--system', '--quiet', 'call', 'org.freedesktop.systemd1', '/org/freedesktop/systemd1']
  const method = ['org.freedesktop.systemd1.Manager', 'StartTransientUnit', 'ssa(sv)a(sa(sv))', name, 'fail']
  try {
    await promisify(execFile)('busctl', [
      ...call,
      ...method,
      `${properties.length}`,
      ...properties.flat(),
      '0',
    ])
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? error).trim()
    if (!/already (loaded|exists)|has a fragment file/.test(said)) throw new Error(said, { cause: error })
  }
}
