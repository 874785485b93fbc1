import { type CgroupSupport, cgroupSupport } from '../../linux/cgroupSupport.ts'
import { cgroupVersion } from '../../linux/cgroups.ts'

/** What `GET /info` tells of the limits that this host can set. */

export const limitFacts = (support: CgroupSupport = cgroupSupport()): object => ({
  MemoryLimit: support.memory,
  SwapLimit: support.swap,
  CpuCfsPeriod: support.cpuQuota,
  CpuCfsQuota: support.cpuQuota,
  CPUShares: support.cpuShares,
  CPUSet: support.cpuset,
  PidsLimit: support.pids,
  OomKillDisable: support.oomKillDisable,
})

type Limit = [key: keyof CgroupSupport, name: string]

const ofBoth: Limit[] = [
  ['memory', 'memory limit'],
  ['swap', 'swap limit'],
  ['cpuQuota', 'cpu cfs quota'],
  ['cpuQuota', 'cpu cfs period'],
  ['cpuShares', 'cpu shares'],
  ['cpuset', 'cpuset'],
  ['pids', 'pids limit'],
]

/** Only what somebody can do something about. */
const ofVersion: Record<1 | 2, Limit[]> = {
  1: [
    ['oomKillDisable', 'oom kill disable'],
    ['blockReadBps', 'blkio throttle.read_bps_device'],
    ['blockWriteBps', 'blkio throttle.write_bps_device'],
    ['blockReadIOps', 'blkio throttle.read_iops_device'],
    ['blockWriteIOps', 'blkio throttle.write_iops_device'],
  ],
  2: [
    ['blockWeight', 'io.weight'],
    ['blockWeightDevice', 'io.weight (per device)'],
    ['blockReadBps', 'io.max (rbps)'],
    ['blockWriteBps', 'io.max (wbps)'],
    ['blockReadIOps', 'io.max (riops)'],
    ['blockWriteIOps', 'io.max (wiops)'],
  ],
}

/** Docker's warnings of limits that this host does not have. */
export const missingLimits = (
  support: CgroupSupport = cgroupSupport(),
  version: 1 | 2 = cgroupVersion,
): string[] =>
  [...ofBoth, ...ofVersion[version]]
    .filter(([key]) => !support[key])
    .map(([, name]) => `WARNING: No ${name} support`)
