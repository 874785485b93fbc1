import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abandonable, untilAborted } from './abort.ts'

const never = new Promise<never>(() => {})
const reason = new Error('enough')

test('work that never ends is left when the signal aborts', async () => {
  const controller = new AbortController()
  const waiting = abandonable(controller.signal, never)
  controller.abort(reason)
  await assert.rejects(waiting, reason)
  await assert.rejects(abandonable(controller.signal, Promise.resolve(1)), reason)
})

test('work that ends first keeps its result and its error', async () => {
  const { signal } = new AbortController()
  assert.equal(await abandonable(signal, Promise.resolve(1)), 1)
  await assert.rejects(abandonable(signal, Promise.reject(reason)), reason)
})

test('a source that waits is left, and one that is left early is closed', async () => {
  const controller = new AbortController()
  const closed: string[] = []
  async function* items(name: string, rest: Promise<number>) {
    try {
      yield 1
      yield await rest
    } finally {
      closed.push(name)
    }
  }
  const seen: number[] = []
  const reading = (async () => {
    for await (const item of untilAborted(controller.signal, items('stalled', never))) {
      seen.push(item)
      setImmediate(() => controller.abort(reason))
    }
  })()
  await assert.rejects(reading, reason)
  assert.deepEqual(seen, [1])
  for await (const item of untilAborted(new AbortController().signal, items('whole', Promise.resolve(2))))
    seen.push(item)
  for await (const _ of untilAborted(new AbortController().signal, items('early', never))) break
  assert.deepEqual(seen, [1, 1, 2])
  assert.deepEqual(closed, ['whole', 'early'])
})
