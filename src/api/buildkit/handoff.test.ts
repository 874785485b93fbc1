import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Handoff } from './handoff.ts'

test('a writer waits until its item has been done with, and the end comes behind what waits', async () => {
  const handoff = new Handoff<number>()
  const done: number[] = []
  const sending = [1, 2].map(item => handoff.send(item).then(() => done.push(item)))
  handoff.close()
  const reader = handoff[Symbol.asyncIterator]()
  assert.equal((await reader.next()).value, 1)
  await new Promise(setImmediate)
  assert.deepEqual(done, [])
  assert.equal((await reader.next()).value, 2)
  await sending[0]
  assert.deepEqual(done, [1])
  assert.equal((await reader.next()).done, true)
  await Promise.all(sending)
  assert.deepEqual(done, [1, 2])
})

test('an error comes at once, and whoever waits is let go', async () => {
  const handoff = new Handoff<number>()
  const reader = handoff[Symbol.asyncIterator]()
  const waiting = reader.next()
  handoff.fail(new Error('over'))
  await assert.rejects(waiting, /over/)
  await handoff.send(1)
  const other = new Handoff<number>()
  const sending = other.send(1)
  other.fail(new Error('over'))
  await sending
  await assert.rejects(other[Symbol.asyncIterator]().next(), /over/)
})

test('a reader that leaves lets all writers go', async () => {
  const handoff = new Handoff<number>()
  const sending = [1, 2].map(item => handoff.send(item))
  for await (const _item of handoff) break
  await Promise.all(sending)
  await handoff.send(3)
})
