import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from './turns.ts'

const never = new AbortController().signal

/** Enters in the order of the list, and tells who came in. */
const queue = (turns: Turns, builds: string[], order: string[], signal = never): void => {
  for (const build of builds) void turns.enter(build, signal).then(() => order.push(build))
}

const passed = () => new Promise(resolve => setImmediate(resolve))

test('builds take turns, however many steps one has', async () => {
  const turns = new Turns(1)
  const order: string[] = []
  const first = await turns.enter('a', never)
  const steps = ['a', 'a', 'a', 'b', 'b', 'c'].map(async build => {
    using _turn = await turns.enter(build, never)
    order.push(build)
    await passed()
  })
  first[Symbol.dispose]()
  await Promise.all(steps)
  assert.deepEqual(order, ['a', 'b', 'c', 'a', 'b', 'a'])
  assert.equal(turns.idle, true)
})

test('as many run as there is room for', async () => {
  const turns = new Turns(2)
  const order: string[] = []
  queue(turns, ['a', 'b', 'c'], order)
  await passed()
  assert.deepEqual(order, ['a', 'b'])
})

test('who leaves the row is passed over, and leaves nothing', async () => {
  const turns = new Turns(1)
  const controller = new AbortController()
  const turn = await turns.enter('a', never)
  const leaving = turns.enter('b', controller.signal)
  const next = turns.enter('c', never)
  const reason = new Error('enough')
  controller.abort(reason)
  await assert.rejects(leaving, reason)
  turn[Symbol.dispose]()
  const last = await next
  last[Symbol.dispose]()
  assert.equal(turns.idle, true)
  await assert.rejects(turns.enter('d', controller.signal), reason)
})
