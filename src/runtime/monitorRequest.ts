import { badRequest } from '../core/errors.ts'
import type { AttachRequest } from './types.ts'

/** Payloads of a daemon's requests; layouts in monitor/README.md. */

const attachFlag = { stdin: 1, stdout: 2, stderr: 4, framed: 8, pending: 16, from: 32 } as const
const detachKeysMax = 64
/** The version that brought the log cursor. */
const cursorVersion = 2

const cursorBytes = (from: AttachRequest['from']): Buffer => {
  if (!from) return Buffer.alloc(0)
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64LE(BigInt(from.sequence), 0)
  bytes.writeBigUInt64LE(BigInt(from.offset), 8)
  return bytes
}

/**
 * u8 flags, u8 number of detach keys, u16 zero, the cursor, the keys. A monitor
 * that does not know cursors yet serves the client from now.
 */
export const encodeAttach = (request: AttachRequest, version: number): Buffer => {
  const keys = request.detachKeys
  if (keys.length > detachKeysMax)
    throw badRequest(
      `the detach sequence has ${keys.length} keys, at most ${detachKeysMax}; choose a shorter one`,
    )
  const from = version >= cursorVersion ? request.from : undefined
  let flags = 0
  if (request.stdin) flags |= attachFlag.stdin
  if (request.stdout) flags |= attachFlag.stdout
  if (request.stderr) flags |= attachFlag.stderr
  if (request.multiplexed) flags |= attachFlag.framed
  if (request.pending.length > 0) flags |= attachFlag.pending
  if (from) flags |= attachFlag.from
  return Buffer.concat([Buffer.from([flags, keys.length, 0, 0]), cursorBytes(from), keys])
}

const cell = (value: number): number => Math.max(0, Math.min(0xffff, Math.trunc(value)))

export const encodeResize = (columns: number, rows: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt16LE(cell(columns), 0)
  payload.writeUInt16LE(cell(rows), 2)
  return payload
}
