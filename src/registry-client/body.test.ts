import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Dispatcher } from 'undici'
import { Body } from './body.ts'

const control = () => {
  const state = { paused: false, aborted: false, reason: null }
  return Object.assign(state, {
    abort: () => {
      state.aborted = true
    },
    pause: () => {
      state.paused = true
    },
    resume: () => {
      state.paused = false
    },
  })
}

const start = () => {
  const controller = control()
  const body = new Body(controller satisfies Dispatcher.DispatchController, error => error as Error)
  return { controller, body }
}

test('a connection is paused while its reader is behind, and goes on when it has caught up', async () => {
  const { controller, body } = start()
  let pushed = 0
  while (!controller.paused && pushed < 1e7) {
    body.push(Buffer.alloc(16_384))
    pushed += 16_384
  }
  assert.ok(pushed <= 256 * 1024, `${pushed} bytes wait`)
  const reader = body[Symbol.asyncIterator]()
  let read = 0
  while (controller.paused && read < pushed) read += (await reader.next()).value?.length ?? 0
  assert.ok(!controller.paused && read < pushed)
})

test('what came before a cut is given before the cut is told', async () => {
  const { body } = start()
  body.push(Buffer.from('ab'))
  body.push(Buffer.from('cd'))
  body.finish(new Error('cut'))
  const got: string[] = []
  await assert.rejects(
    async () => {
      for await (const chunk of body) got.push(chunk.toString())
    },
    { message: 'cut' },
  )
  assert.deepEqual(got, ['ab', 'cd'])
})

test('a reader that leaves ends the connection, unless all has come', async () => {
  const left = start()
  left.body.push(Buffer.from('ab'))
  for await (const _ of left.body) break
  assert.ok(left.controller.aborted)
  const whole = start()
  whole.body.push(Buffer.from('ab'))
  whole.body.finish()
  assert.equal((await whole.body.read(10))?.toString(), 'ab')
  assert.ok(!whole.controller.aborted)
  const long = start()
  long.body.push(Buffer.alloc(11))
  assert.equal(await long.body.read(10), undefined)
  assert.ok(long.controller.aborted)
})
