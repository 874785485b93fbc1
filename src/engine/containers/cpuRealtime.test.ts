import assert from 'node:assert/strict'
import { test } from 'node:test'
import { realtimeWrites } from './cpuRealtime.ts'

test('groups above a container’s get their share, outermost first, the period before the time', () => {
  assert.deepEqual(realtimeWrites('/a/b/../c/id', { period: 1000, runtime: 500 }), [
    { group: '/a', file: 'cpu.rt_period_us', value: 1000 },
    { group: '/a', file: 'cpu.rt_runtime_us', value: 500 },
    { group: '/a/c', file: 'cpu.rt_period_us', value: 1000 },
    { group: '/a/c', file: 'cpu.rt_runtime_us', value: 500 },
  ])
  assert.deepEqual(realtimeWrites('../../a/id', { period: 0, runtime: 7 }), [
    { group: '/a', file: 'cpu.rt_runtime_us', value: 7 },
  ])
  assert.deepEqual(realtimeWrites('/id', { period: 1, runtime: 1 }), [])
})
