import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { internal, messageOf } from '../../core/errors.ts'
import { cgroupSupport } from '../../linux/cgroupSupport.ts'
import { groupDirectory } from '../../linux/cgroups.ts'

/** Real-time scheduling: a group has at most what all groups above it have, so these get the daemon's share first. */

/** Microseconds; 0 for what is left as it is. */
export interface RealtimeShare {
  period: number
  runtime: number
}

/** What is written for a container's group to have real-time scheduling, outermost first. */
export const realtimeWrites = (
  group: string,
  { period, runtime }: RealtimeShare,
): { group: string; file: string; value: number }[] => {
  const parts = path.posix.dirname(path.posix.resolve('/', group)).split('/').filter(Boolean)
  return parts.flatMap((_, index) => {
    const parent = `/${parts.slice(0, index + 1).join('/')}`
    return [
      ...(period === 0 ? [] : [{ group: parent, file: 'cpu.rt_period_us', value: period }]),
      ...(runtime === 0 ? [] : [{ group: parent, file: 'cpu.rt_runtime_us', value: runtime }]),
    ]
  })
}

/** Errors: 500 on a host that cannot. */
export const prepareRealtime = (group: string, share: RealtimeShare): void => {
  if (share.period === 0 && share.runtime === 0) return
  const cannot = 'unable to init CPU RT controller'
  if (!cgroupSupport().cpuRealtime)
    throw internal(
      `${cannot}: this host's kernel does not schedule groups in real time; take cpu-rt-period and cpu-rt-runtime out of the daemon's options`,
    )
  try {
    for (const { group: parent, file, value } of realtimeWrites(group, share)) {
      const directory = groupDirectory(parent, 'cpu')
      mkdirSync(directory, { recursive: true })
      writeFileSync(path.join(directory, file), String(value))
    }
  } catch (error) {
    throw internal(`${cannot}: ${messageOf(error)}`, error)
  }
}
