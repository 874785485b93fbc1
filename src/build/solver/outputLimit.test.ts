import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutputLimit, outputLimits } from './outputLimit.ts'

const limits = { bytes: 100, bytesPerSecond: 10, tailBytes: 8 }

const streamOf = (own = limits) => {
  const clock = { seconds: 0 }
  const limit = new OutputLimit(() => clock.seconds, own)
  return {
    clock,
    take: (text: string) => text_(limit.take(Buffer.from(text))),
    end: () => text_(limit.end()),
  }
}

const text_ = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

test('what is within the limits passes as it is', () => {
  const stream = streamOf()
  assert.equal(stream.take('0123456789'), '0123456789')
  assert.equal(stream.end(), '')
})

test('what comes too fast is left out with one notice, and its end comes at the end', () => {
  const stream = streamOf()
  assert.equal(stream.take('0123456789abc'), '0123456789\n[output clipped, log limit 10B/s reached]\n')
  assert.equal(stream.take('defgh'), '')
  assert.equal(stream.end(), 'abcdefgh')
})

test('later there is room again, and then another notice', () => {
  const stream = streamOf()
  stream.take('0123456789abc')
  stream.clock.seconds = 1.5
  assert.equal(stream.take('defg'), 'defg')
  assert.match(stream.take('0123456789'), /^012\n\[output clipped/)
})

test('all that there may be is 2 MiB, at 200 KiB a second', () => {
  assert.deepEqual(outputLimits, { bytes: 2097152, bytesPerSecond: 204800, tailBytes: 262144 })
  const stream = streamOf(outputLimits)
  const first = stream.take('x'.repeat(300_000))
  assert.ok(first.endsWith('[output clipped, log limit 200KiB/s reached]\n'))
  stream.clock.seconds = 60
  stream.take('y')
  const second = stream.take('y'.repeat(3_000_000))
  assert.ok(second.endsWith('[output clipped, log limit 2MiB reached]\n'))
  assert.equal(stream.end(), 'y'.repeat(262144))
})

test('never more passes than may, and the end is that of what came', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 30 })), fc.nat(20), (texts, seconds) => {
      const stream = streamOf()
      stream.clock.seconds = seconds
      const told = texts.map(text => stream.take(text).replace(/\n\[output clipped.*?\]\n/s, '')).join('')
      const all = texts.join('')
      const allowed = Math.min(limits.bytes, Math.max(1, seconds) * limits.bytesPerSecond)
      const clean = Buffer.byteLength(all)
      assert.ok(Buffer.byteLength(told) <= allowed || /\uFFFD/.test(told))
      const end = stream.end()
      if (clean <= allowed) assert.deepEqual([told, end], [all, ''])
      else assert.ok(Buffer.byteLength(end) <= limits.tailBytes || /\uFFFD/.test(end))
    }),
  )
})
