import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containsCpuSet, parseCpuSet } from './cpuSets.ts'

test('lists of CPUs are ranges and numbers', () => {
  assert.deepEqual(parseCpuSet('0-3,7,03'), [
    [0, 3],
    [7, 7],
    [3, 3],
  ])
  assert.deepEqual(parseCpuSet(''), [])
  for (const bad of ['a', '1-', '-1', '3-1', '1,,2', '0-1-2'])
    assert.throws(() => parseCpuSet(bad), { message: `invalid format: ${bad}` })
  assert.throws(() => parseCpuSet('1-9223372036854775807'), {
    message: 'value of out range, maximum is 8192',
  })
})

test('a list is in another where each of its numbers is', () => {
  assert.ok(containsCpuSet('0-3,7', '1-2,7'))
  assert.ok(containsCpuSet('0,1', '0-1'))
  assert.ok(!containsCpuSet('0-3,7', '3-4'))
  assert.ok(containsCpuSet('0', ''))
})
