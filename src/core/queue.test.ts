import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Gate, SerialQueue, SharedLock } from './queue.ts'

const reason = new Error('enough')

test('a task that waits for its turn can leave the row, and is never run', async () => {
  const queue = new SerialQueue()
  const first = Promise.withResolvers<void>()
  const controller = new AbortController()
  const holding = queue.run(() => first.promise)
  let ran = false
  const waiting = queue.run(async () => {
    ran = true
  }, controller.signal)
  controller.abort(reason)
  await assert.rejects(waiting, reason)
  first.resolve()
  await holding
  await queue.run(async () => {})
  assert.equal(ran, false)
  assert.equal(queue.idle, true)
})

test('a task that has begun is not left by an abort', async () => {
  const queue = new SerialQueue()
  const controller = new AbortController()
  const begun = Promise.withResolvers<void>()
  const end = Promise.withResolvers<number>()
  const running = queue.run(() => {
    begun.resolve()
    return end.promise
  }, controller.signal)
  await begun.promise
  controller.abort(reason)
  end.resolve(3)
  assert.equal(await running, 3)
})

test('who leaves the row of a lock holds nobody up', async () => {
  const lock = new SharedLock()
  const sharing = await lock.share()
  const owning = lock.own()
  const controller = new AbortController()
  const late = lock.share(controller.signal)
  controller.abort(reason)
  await assert.rejects(late, reason)
  sharing[Symbol.dispose]()
  const owner = await owning
  owner[Symbol.dispose]()
  const again = await lock.own()
  again[Symbol.dispose]()
})

test('who leaves the row of a gate takes nobody’s place', async () => {
  const gate = new Gate(1)
  const first = Promise.withResolvers<void>()
  const controller = new AbortController()
  const holding = gate.run(() => first.promise)
  const order: string[] = []
  const left = gate.run(async () => order.push('left'), controller.signal)
  const next = gate.run(async () => order.push('next'))
  controller.abort(reason)
  await assert.rejects(left, reason)
  await assert.rejects(
    gate.run(async () => order.push('late'), controller.signal),
    reason,
  )
  first.resolve()
  await Promise.all([holding, next])
  await gate.run(async () => order.push('last'))
  assert.deepEqual(order, ['next', 'last'])
})

test('who waits for ownership and leaves holds nobody up', async () => {
  const lock = new SharedLock()
  const sharer = await lock.share()
  const controller = new AbortController()
  const owning = lock.own(controller.signal)
  const later = lock.share()
  controller.abort(reason)
  await assert.rejects(owning, reason)
  for (const sharing of [sharer, await later]) sharing[Symbol.dispose]()
  const owner = await lock.own()
  owner[Symbol.dispose]()
})

test('a gate that is made wider lets more in at once, a narrower one when enough have left', async () => {
  const gate = new Gate(1)
  const tasks = Array.from({ length: 5 }, () => Promise.withResolvers<void>())
  const begun: number[] = []
  const runs = tasks.map(({ promise }, index) =>
    gate.run(() => {
      begun.push(index)
      return promise
    }),
  )
  const after = async (index: number): Promise<number[]> => {
    tasks[index]?.resolve()
    await runs[index]
    return [...begun]
  }
  await Promise.resolve()
  assert.deepEqual(begun, [0])
  gate.width = 3
  await Promise.resolve()
  assert.deepEqual(begun, [0, 1, 2])
  gate.width = 1
  assert.deepEqual(await after(0), [0, 1, 2])
  assert.deepEqual(await after(1), [0, 1, 2])
  assert.deepEqual(await after(2), [0, 1, 2, 3])
  assert.deepEqual(await after(3), [0, 1, 2, 3, 4])
  await after(4)
})
