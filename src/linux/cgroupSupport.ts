import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { cgroupVersion, controllers } from './cgroups.ts'

/** What the host's control groups can limit. */
export interface CgroupSupport {
  memory: boolean
  swap: boolean
  reservation: boolean
  oomKillDisable: boolean
  swappiness: boolean
  cpuShares: boolean
  cpuQuota: boolean
  cpuRealtime: boolean
  cpuset: boolean
  /** CPUs that a container may have, like `0-3,7`. */
  cpus: string
  /** Memory nodes, in the same form. */
  memoryNodes: string
  pids: boolean
  blockWeight: boolean
  blockWeightDevice: boolean
  blockReadBps: boolean
  blockWriteBps: boolean
  blockReadIOps: boolean
  blockWriteIOps: boolean
}

const root = '/sys/fs/cgroup'

const textOf = (file: string): string => {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return ''
  }
}

const ofVersion1 = (): CgroupSupport => {
  const has = (controller: string, file = ''): boolean =>
    controllers.includes(controller) && existsSync(path.join(root, controller, file))
  const throttles = (name: string): boolean => has('blkio', `blkio.throttle.${name}_device`)
  return {
    memory: has('memory'),
    swap: has('memory', 'memory.memsw.limit_in_bytes'),
    reservation: has('memory', 'memory.soft_limit_in_bytes'),
    oomKillDisable: has('memory', 'memory.oom_control'),
    swappiness: has('memory', 'memory.swappiness'),
    cpuShares: has('cpu', 'cpu.shares'),
    cpuQuota: has('cpu', 'cpu.cfs_quota_us'),
    cpuRealtime: has('cpu', 'cpu.rt_period_us'),
    cpuset: has('cpuset'),
    cpus: textOf(path.join(root, 'cpuset', 'cpuset.cpus')),
    memoryNodes: textOf(path.join(root, 'cpuset', 'cpuset.mems')),
    pids: has('pids'),
    blockWeight: has('blkio', 'blkio.weight'),
    blockWeightDevice: has('blkio', 'blkio.weight_device'),
    blockReadBps: throttles('read_bps'),
    blockWriteBps: throttles('write_bps'),
    blockReadIOps: throttles('read_iops'),
    blockWriteIOps: throttles('write_iops'),
  }
}

/** The root group has no limits of its own: those right below it tell. */
const countsSwap = (): boolean =>
  readdirSync(root, { withFileTypes: true }).some(
    entry => entry.isDirectory() && existsSync(path.join(root, entry.name, 'memory.swap.max')),
  )

const ofVersion2 = (): CgroupSupport => {
  const has = (controller: string): boolean => controllers.includes(controller)
  const block = has('io')
  return {
    memory: has('memory'),
    swap: has('memory') && countsSwap(),
    reservation: has('memory'),
    oomKillDisable: false,
    swappiness: false,
    cpuShares: has('cpu'),
    cpuQuota: has('cpu'),
    cpuRealtime: false,
    cpuset: has('cpuset'),
    cpus: textOf(path.join(root, 'cpuset.cpus.effective')),
    memoryNodes: textOf(path.join(root, 'cpuset.mems.effective')),
    pids: has('pids'),
    blockWeight: block,
    blockWeightDevice: block,
    blockReadBps: block,
    blockWriteBps: block,
    blockReadIOps: block,
    blockWriteIOps: block,
  }
}

/** Looked up once: a host does not change in this while it runs. */
export const cgroupSupport = (() => {
  let known: CgroupSupport | undefined
  return (): CgroupSupport => {
    known ??= cgroupVersion === 2 ? ofVersion2() : ofVersion1()
    return known
  }
})()
