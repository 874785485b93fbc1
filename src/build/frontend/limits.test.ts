import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readLimits, relaxedLimits } from './limits.ts'

test('limits are read by their names', () => {
  assert.deepEqual(readLimits({ memory: '', target: 'x' }), {})
  assert.deepEqual(
    readLimits({
      ...{ memory: '67108864', memswap: '-1', cpushares: '512', cpuperiod: '50000', cpuquota: '25000' },
      ...{ cpusetcpus: '0-1', cpusetmems: '0' },
    }),
    {
      ...{ Memory: 67108864, MemorySwap: -1, CpuShares: 512, CpuPeriod: 50000, CpuQuota: 25000 },
      ...{ CpusetCpus: '0-1', CpusetMems: '0' },
    },
  )
  assert.throws(() => readLimits({ memory: '64m' }), /invalid memory value: 64m/)
  assert.throws(() => readLimits({ memory: '0' }), /must be > 0/)
  assert.throws(() => readLimits({ memswap: '-2' }), /must be -1 \(unlimited\) or > 0/)
  assert.throws(() => readLimits({ cpuquota: '-1' }), /invalid cpuquota value/)
})

test('of several the widest holds, and none is the widest', () => {
  assert.deepEqual(relaxedLimits([]), {})
  assert.deepEqual(relaxedLimits([{ Memory: 5 }]), { Memory: 5 })
  assert.deepEqual(relaxedLimits([{ Memory: 5, CpuShares: 1, CpusetCpus: '0' }, {}]), {})
  assert.deepEqual(
    relaxedLimits([
      { Memory: 5, MemorySwap: 6, CpusetCpus: '0', CpuShares: 2 },
      { Memory: 7, MemorySwap: -1, CpusetCpus: '1', CpuShares: 1 },
    ]),
    { Memory: 7, MemorySwap: -1, CpusetCpus: '0,1', CpuShares: 2 },
  )
  assert.deepEqual(relaxedLimits([{ CpuQuota: 50_000 }, { CpuQuota: 60_000, CpuPeriod: 200_000 }]), {
    CpuQuota: 50_000,
  })
  assert.deepEqual(relaxedLimits([{ Memory: 5, MemorySwap: 6 }, { MemorySwap: 7 }]), {})
})
