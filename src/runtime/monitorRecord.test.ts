import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { decodeExitFile, decodeStatus } from './monitorRecord.ts'

const payloadOf = (error: string): Buffer => {
  const text = Buffer.from(error)
  const payload = Buffer.alloc(40 + text.length)
  payload.writeUInt32LE(3, 0)
  payload.writeInt32LE(42, 4)
  payload.writeInt32LE(137, 8)
  payload.writeUInt32LE(1, 12)
  payload.writeBigUInt64LE(5n, 16)
  payload.writeBigUInt64LE(6n, 24)
  payload.writeUInt32LE(text.length, 32)
  text.copy(payload, 40)
  return payload
}

const fileOf = (payload: Buffer): Buffer => {
  const file = Buffer.alloc(12288)
  file.write('BERTHEX1', 0, 'latin1')
  file.writeUInt32LE(1, 8)
  file.writeUInt32LE(crc32(payload), 12)
  file.writeUInt32LE(payload.length, 16)
  payload.copy(file, 20)
  return file
}

test('a whole record is read', () => {
  assert.deepEqual(decodeExitFile(fileOf(payloadOf('why'))), {
    phase: 'exited',
    pid: 42,
    exitCode: 137,
    oomKilled: true,
    startedAt: 5n,
    finishedAt: 6n,
    error: 'why',
  })
})

test('a record that was not finished is none: without its flag, cut short, or torn anywhere', () => {
  const whole = fileOf(payloadOf('why'))
  assert.equal(decodeExitFile(Buffer.alloc(12288)), undefined)
  const unflagged = Buffer.from(whole)
  unflagged.writeUInt32LE(0, 8)
  assert.equal(decodeExitFile(unflagged), undefined)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 62 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const torn = Buffer.from(whole)
      torn[at] = (torn[at] ?? 0) ^ change
      assert.equal(decodeExitFile(torn), undefined)
    }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 62 }), length => {
      assert.equal(decodeExitFile(whole.subarray(0, length)), undefined)
    }),
  )
})

test('a status with and without the exit', () => {
  const status = Buffer.alloc(20)
  status.writeUInt32LE(2, 0)
  status.writeInt32LE(42, 4)
  assert.deepEqual(decodeStatus(status), { phase: 'running', pid: 42, startedAt: 0n, oomKilled: false })
  status.writeUInt32LE(3, 0)
  assert.equal(decodeStatus(Buffer.concat([status, payloadOf('')])).exit?.exitCode, 137)
  assert.throws(() => decodeStatus(status.subarray(0, 19)), /too short/)
  assert.throws(() => decodeStatus(Buffer.concat([status, payloadOf('x').subarray(0, 40)])), /malformed/)
})
