import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeHello, encodeFrame, FrameDecoder } from './monitorFrames.ts'

const frames = fc.array(
  fc.record({
    type: fc.integer({ min: 0, max: 0xffff }),
    tag: fc.integer({ min: 0, max: 0xffff }),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 12 },
)

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodeFrame))
      const decoder = new FrameDecoder()
      const got = []
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const size = cuts[turn % cuts.length] ?? 1
        got.push(...decoder.push(stream.subarray(at, at + size)))
        at += size
      }
      assert.deepEqual(
        got.map(frame => ({ ...frame, payload: [...frame.payload] })),
        sent.map(frame => ({ ...frame, payload: [...frame.payload] })),
      )
    }),
  )
})

test('a length beyond the bound is refused before anything is buffered', () => {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(32769, 0)
  assert.throws(() => new FrameDecoder().push(bytes), /32769 bytes/)
})

const hello = (min: number, max: number): Buffer => {
  const payload = Buffer.alloc(10)
  payload.writeUInt16LE(min, 0)
  payload.writeUInt16LE(max, 2)
  payload.writeUInt32LE(77, 4)
  payload.write('id', 8)
  return payload
}

test('the highest version that both speak is chosen', () => {
  assert.deepEqual(decodeHello(hello(1, 1)), { version: 1, pid: 77, id: 'id' })
  assert.equal(decodeHello(hello(1, 2)).version, 2)
  assert.equal(decodeHello(hello(2, 9)).version, 4)
  assert.throws(() => decodeHello(hello(5, 6)), /speaks protocol 5 to 6/)
  assert.throws(() => decodeHello(hello(0, 0)), /speaks protocol 0 to 0/)
})
