import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readGcRules } from './gc.ts'
import { rowOf } from './testing/rows.ts'

const hour = 3_600_000
const gib = 2 ** 30
const disk = { total: 100 * gib }
const rules = (config?: unknown, at: { total: number } | undefined = disk) => readGcRules(config, at, 0)

test('by default, parts of the disk: what is easily made again goes after two days, the rest after sixty', () => {
  const [easy, old, own, all] = rules()
  assert.equal(easy?.keepDuration, 48 * hour)
  assert.equal(easy.maxUsedSpace, Math.round(110e6 * Math.E * Math.PI * 1.618033988749895))
  assert.equal(easy.filter?.(rowOf({ id: '', kind: 'exec.cachemount' })), true)
  assert.equal(easy.filter?.(rowOf({ id: '' })), false)
  const limits = { reservedSpace: 11e9, maxUsedSpace: 81e9, minFreeSpace: 21e9 }
  assert.deepEqual(old, { keepDuration: 60 * 24 * hour, ...limits })
  assert.deepEqual(own, limits)
  assert.deepEqual(all, { all: true, ...limits })
})

test('without a disk to look at, two gigabytes are reserved', () => {
  const [, , own] = readGcRules(undefined, undefined, 0)
  assert.deepEqual(own, { reservedSpace: 2e9, maxUsedSpace: 0, minFreeSpace: 0 })
})

test('limits of its own leave the other ones out; the old name of one is known', () => {
  const limits = { reservedSpace: 20 * gib, maxUsedSpace: 0, minFreeSpace: 0 }
  assert.deepEqual(rules({ defaultKeepStorage: '20GB' })[2], limits)
  assert.deepEqual(
    rules({ enabled: true, DefaultReservedSpace: '20GB', defaultKeepStorage: '1GB' })[2],
    limits,
  )
  assert.equal(rules({ defaultKeepStorage: '1MB' })[0]?.maxUsedSpace, 512e6)
})

test('a policy is its rules', () => {
  const [first, second] = rules({
    policy: [
      { keepStorage: '512MB', filter: ['unused-for=2h', 'type=regular'] },
      { maxUsedSpace: '1GB', minFreeSpace: '2GB', all: true, keepDuration: '48h' },
    ],
  })
  assert.equal(first?.reservedSpace, 512 * 2 ** 20)
  assert.equal(first.filter?.(rowOf({ id: '', kind: 'frontend' })), false)
  assert.deepEqual(
    { all: second?.all, most: second?.maxUsedSpace, free: second?.minFreeSpace, keep: second?.keepDuration },
    { all: true, most: gib, free: 2 * gib, keep: 48 * hour },
  )
})

test('the older form of filters is known', () => {
  const [rule] = rules({ policy: [{ filter: { type: { regular: true } } }] })
  assert.equal(rule?.filter?.(rowOf({ id: '' })), true)
  assert.equal(rule.filter?.(rowOf({ id: '', kind: 'frontend' })), false)
})

test('switched off there are none', () => {
  assert.deepEqual(rules({ enabled: false, policy: [{}] }), [])
})

test('what is no size or no filter is refused', () => {
  assert.throws(
    () => rules({ defaultKeepStorage: 'much' }),
    /failed to parse defaultKeepStorage: invalid size: 'much'/,
  )
  assert.throws(() => rules({ policy: [{ filter: ['nosuch=1'] }] }), /invalid filter 'nosuch'/)
  assert.throws(() => rules({ policy: [{ keepDuration: 'long' }] }), /failed to parse keepDuration/)
})
