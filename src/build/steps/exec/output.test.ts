import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { stdcopyFrame } from '../../../wire/stdcopy.ts'
import { unframe } from './output.ts'

test('frames give what was written, however the stream is cut', () => {
  const written = fc.array(fc.tuple(fc.constantFrom<1 | 2>(1, 2), fc.uint8Array({ maxLength: 20 })))
  fc.assert(
    fc.property(written, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (frames, cuts) => {
      const told = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
      const take = unframe((stream, bytes) => told[stream].push(Buffer.from(bytes)))
      const all = Buffer.concat(frames.map(([stream, bytes]) => stdcopyFrame(stream, Buffer.from(bytes))))
      for (let at = 0, turn = 0; at < all.length; turn++) {
        const size = cuts[turn % cuts.length] ?? 1
        take(all.subarray(at, at + size))
        at += size
      }
      for (const [number, stream] of [[1, 'stdout'] as const, [2, 'stderr'] as const])
        assert.deepEqual(
          Buffer.concat(told[stream]),
          Buffer.concat(frames.flatMap(([of, bytes]) => (of === number ? [Buffer.from(bytes)] : []))),
        )
    }),
  )
})
