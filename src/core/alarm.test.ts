import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { alarmAfter, alarmAt } from './alarm.ts'
import { nowNanos } from './clock.ts'

test('a wait longer than a timer can be is no wait of none', async () => {
  let count = 0
  using _month = alarmAfter(2 ** 31 + 1000, () => count++)
  using _ever = alarmAfter(Number.POSITIVE_INFINITY, () => count++)
  using _date = alarmAt(nowNanos() + BigInt(2 ** 31) * 2_000_000n, () => count++)
  await sleep(20)
  assert.equal(count, 0)
})

test('it is called once, never before its time, and not after its disposal', async () => {
  for (let round = 0; round < 30; round++) {
    const end = nowNanos() + BigInt(round) * 100_000n
    const called = Promise.withResolvers<bigint>()
    using _alarm = alarmAt(end, () => called.resolve(nowNanos()))
    assert.ok((await called.promise) >= end)
  }
  let count = 0
  const cancelled = alarmAfter(5, () => count++)
  cancelled[Symbol.dispose]()
  using _past = alarmAfter(-5, () => count++)
  await sleep(20)
  assert.equal(count, 1)
})
