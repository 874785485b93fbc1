import path from 'node:path'
import { cgroupVersion, groupDirectory, readGroupFile } from '../../linux/cgroups.ts'
import type { EngineSettings } from '../settings.ts'
import type { ContainerRecord } from './types.ts'

/** Where a container's processes live in the control group tree. */
export interface ContainerGroup {
  /** As the OCI specification's `cgroupsPath` wants it. */
  specPath: string
  /** Below the hierarchies' root. */
  group: string
}

/** `a-b.slice` lies in `a.slice/a-b.slice` (systemd.slice(5)). */
const slicePath = (slice: string): string => {
  const parts = slice.replace(/\.slice$/, '').split('-')
  return path.posix.join('/', ...parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`))
}

export const containerGroup = (settings: EngineSettings, record: ContainerRecord): ContainerGroup => {
  const parent = record.hostConfig.CgroupParent || settings.cgroupParent
  if (settings.cgroupDriver === 'systemd')
    return {
      specPath: `${parent}:berth:${record.id}`,
      group: path.posix.join(slicePath(parent), `berth-${record.id}.scope`),
    }
  const group = path.posix.join('/', parent, record.id)
  return { specPath: group, group }
}

/** The directory that the monitor watches for OOM, `''` where there is none. */
export const memoryDirectory = (group: string): string => groupDirectory(group, 'memory')

/** Whether the processes of a group are stopped, as the kernel has it. */
export const isFrozen = (group: string): boolean =>
  cgroupVersion === 2
    ? (readGroupFile(group, '', 'cgroup.events') ?? '').includes('frozen 1')
    : (readGroupFile(group, 'freezer', 'freezer.state') ?? 'THAWED') !== 'THAWED'

/** Hierarchies of version 1 that a monitor enters: those that count and those that would freeze it with its container. */
const monitorControllers = ['cpu', 'cpuacct', 'memory', 'pids', 'freezer']

/** The group of the monitors beside the containers', so that accounting sees them. */
export const monitorDirectories = (settings: EngineSettings, mounted: readonly string[]): string[] => {
  const group = path.posix.join(
    settings.cgroupDriver === 'systemd' ? slicePath(settings.cgroupParent) : settings.cgroupParent,
    'monitors',
  )
  if (cgroupVersion === 2) return [groupDirectory(group, '')]
  return monitorControllers.filter(name => mounted.includes(name)).map(name => groupDirectory(group, name))
}
