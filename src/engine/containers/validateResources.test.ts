import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CgroupSupport } from '../../linux/cgroupSupport.ts'
import type { Resources } from '../../wire/container.ts'
import { missingLimits } from '../system/limitFacts.ts'
import { checkResources } from './validateResources.ts'

const all: CgroupSupport = {
  memory: true,
  swap: true,
  reservation: true,
  oomKillDisable: true,
  swappiness: true,
  cpuShares: true,
  cpuQuota: true,
  cpuRealtime: true,
  cpuset: true,
  cpus: '0-3',
  memoryNodes: '0',
  pids: true,
  blockWeight: true,
  blockWeightDevice: true,
  blockReadBps: true,
  blockWriteBps: true,
  blockReadIOps: true,
  blockWriteIOps: true,
}

/** A host that can do what version 2 of control groups can, and one that can do nothing. */
const version2: CgroupSupport = { ...all, oomKillDisable: false, swappiness: false, cpuRealtime: false }
const nothing = Object.fromEntries(
  Object.entries(all).map(([key, value]) => [key, value === true ? false : '']),
) as unknown as CgroupSupport

const check = (resources: Resources, support: CgroupSupport, update = false) => ({
  warnings: checkResources(resources, { update, support }),
  resources,
})

const limit = 64 * 1024 * 1024

test('what version 2 of control groups does not have is dropped with a warning', () => {
  const { warnings, resources } = check(
    { Memory: limit, MemorySwappiness: 10, OomKillDisable: true },
    version2,
  )
  assert.deepEqual(resources, { Memory: limit })
  assert.match(warnings.join('\n'), /memory swappiness.*discarded\.\n.*OomKillDisable discarded\.$/)
})

test('what nobody asked for is dropped without one, and version 1 keeps all', () => {
  assert.deepEqual(check({ MemorySwappiness: -1, OomKillDisable: false }, version2).warnings, [])
  const { warnings, resources } = check(
    { Memory: limit, MemorySwappiness: 10, OomKillDisable: true, CpuRealtimePeriod: 1000 },
    all,
  )
  assert.deepEqual(warnings, [])
  assert.deepEqual(resources, {
    Memory: limit,
    MemorySwappiness: 10,
    OomKillDisable: true,
    CpuRealtimePeriod: 1000,
  })
})

test('a host without limits takes nearly everything out, each with its warning', () => {
  const device = [{ Path: '/dev/sda', Rate: 1 }]
  const { warnings, resources } = check(
    {
      ...{ Memory: limit, MemoryReservation: limit, MemorySwappiness: 3, OomKillDisable: true },
      ...{ PidsLimit: 9, CpuShares: 2, CpuQuota: 2000, CpusetCpus: '77', BlkioWeight: 3 },
      ...{ BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 9 }], BlkioDeviceReadBps: device },
      ...{ BlkioDeviceWriteBps: device, BlkioDeviceReadIOps: device, BlkioDeviceWriteIOps: device },
    },
    nothing,
  )
  assert.deepEqual(resources, { Memory: 0, MemorySwap: -1 })
  const missed = warnings.map(
    text => /^Your kernel does not support (.*?)(?: or the cgroup|\.)/.exec(text)?.[1],
  )
  assert.deepEqual(missed, [
    'memory limit capabilities',
    'memory swappiness capabilities',
    'memory soft limit capabilities',
    'OomKillDisable',
    'PIDs limit capabilities',
    'CPU shares',
    'CPU CFS scheduler',
    'cpuset',
    'Block I/O weight',
    'Block I/O weight_device',
    'BPS Block I/O read limit',
    'BPS Block I/O write limit',
    'IOPS Block read limit',
    'IOPS Block write limit',
  ])
})

test('without accounting of swap, memory alone is limited', () => {
  const { warnings, resources } = check({ Memory: limit, MemorySwap: limit }, { ...all, swap: false })
  assert.deepEqual(resources, { Memory: limit, MemorySwap: -1 })
  assert.match(warnings.join(), /swap limit capabilities .* Memory limited without swap\.$/)
})

test('CPUs are refused where the host cannot share them out or does not have them', () => {
  assert.throws(() => check({ NanoCpus: 1e9 }, nothing), /NanoCPUs can not be set, as your kernel/)
  assert.throws(() => check({ CpuRealtimeRuntime: 5 }, version2), {
    message: 'kernel does not support CPU real-time scheduler',
  })
  assert.throws(() => check({ CpuRealtimeRuntime: 5000, CpuRealtimePeriod: 1000 }, all), {
    message: 'cpu real-time runtime cannot be higher than cpu real-time period',
  })
  assert.throws(() => check({ CpusetCpus: '2-4' }, all), {
    message: 'Requested CPUs are not available - requested 2-4, available: 0-3',
  })
  assert.throws(() => check({ CpusetMems: '0-' }, all), {
    message: 'Invalid value 0- for cpuset mems: invalid format: 0-',
  })
})

test('weights of block devices have a range, where the host has them', () => {
  assert.throws(() => check({ BlkioWeight: 5 }, all), { message: 'Range of blkio weight is from 10 to 1000' })
  assert.equal(check({ BlkioWeight: 10 }, all).resources.BlkioWeight, 10)
})

test('an update may set swap alone, a create may not', () => {
  assert.deepEqual(check({ MemorySwap: limit }, all, true).warnings, [])
  assert.throws(() => check({ MemorySwap: limit }, all), /always set the Memory limit/)
  assert.throws(() => check({ IOMaximumIOps: 1 }, all, true), {
    message: 'Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps',
  })
})

test('information warns of the limits that are not there', () => {
  assert.deepEqual(missingLimits(all, 1), [])
  assert.deepEqual(missingLimits({ ...version2, swap: false, blockWeight: false }, 2), [
    'WARNING: No swap limit support',
    'WARNING: No io.weight support',
  ])
})
