import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { frameOf, messagesOf } from './frames.ts'

const pieces = async function* (bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test('messages come back whole, however their bytes come; one that was cut is left out', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }),
      fc.integer({ min: 1, max: 20 }),
      fc.nat(60),
      async (messages, size, cut) => {
        const whole = Buffer.concat(messages.map(frameOf))
        const bytes = whole.subarray(0, whole.length - Math.min(cut, whole.length))
        const read: number[][] = []
        for await (const message of messagesOf(pieces(bytes, size))) read.push([...message])
        assert.deepEqual(
          read,
          messages.slice(0, read.length).map(message => [...message]),
        )
        if (cut === 0) assert.equal(read.length, messages.length)
      },
    ),
  )
})

test('bytes that are no log end it', async () => {
  for await (const message of messagesOf(pieces(Buffer.alloc(100, 0xff), 7))) assert.fail(String(message))
})
