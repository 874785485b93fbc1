import { readFileSync } from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { internal } from '../core/errors.ts'
import type { ExitRecord, MonitorStatus, RunPhase } from './types.ts'

/** Status and exit record as a monitor sends and stores them; layouts in monitor/README.md. */

const phases: RunPhase[] = ['new', 'starting', 'running', 'exited', 'failed']
const fixedSize = 40
const statusSize = 20
const fileHead = 20
const magic = 'BERTHEX1'

const phaseOf = (number: number): RunPhase => {
  const phase = phases[number]
  if (!phase) throw internal(`a monitor told of an unknown phase ${number}`)
  return phase
}

/** Throws on anything but a whole record. */
export const decodeExitRecord = (payload: Buffer): ExitRecord => {
  const errorLength = payload.length < fixedSize ? -1 : payload.readUInt32LE(32)
  if (payload.length !== fixedSize + errorLength) throw internal('an exit record is malformed')
  const phase = phaseOf(payload.readUInt32LE(0))
  if (phase !== 'exited' && phase !== 'failed') throw internal(`an exit record has the phase ${phase}`)
  return {
    phase,
    pid: payload.readInt32LE(4),
    exitCode: payload.readInt32LE(8),
    oomKilled: payload.readUInt32LE(12) !== 0,
    startedAt: payload.readBigUInt64LE(16),
    finishedAt: payload.readBigUInt64LE(24),
    error: payload.toString('utf8', fixedSize),
  }
}

export const decodeStatus = (payload: Buffer): MonitorStatus => {
  if (payload.length < statusSize) throw internal('a monitor sent a status that is too short')
  const status: MonitorStatus = {
    phase: phaseOf(payload.readUInt32LE(0)),
    pid: payload.readInt32LE(4),
    startedAt: payload.readBigUInt64LE(8),
    oomKilled: payload.readUInt32LE(16) !== 0,
  }
  if (payload.length > statusSize) status.exit = decodeExitRecord(payload.subarray(statusSize))
  return status
}

/** The record in a file's bytes; undefined while it is not complete. */
export const decodeExitFile = (bytes: Buffer): ExitRecord | undefined => {
  if (bytes.length < fileHead || bytes.toString('latin1', 0, 8) !== magic) return undefined
  const length = bytes.readUInt32LE(16)
  const payload = bytes.subarray(fileHead, fileHead + length)
  const whole = bytes.readUInt32LE(8) === 1 && payload.length === length
  return whole && crc32(payload) === bytes.readUInt32LE(12) ? decodeExitRecord(payload) : undefined
}

/**
 * The exit record of a run directory; undefined where the process has not
 * ended, or its monitor was lost before it could write one.
 */
export const readExitRecord = (directory: string): ExitRecord | undefined => {
  try {
    return decodeExitFile(readFileSync(path.join(directory, 'exit')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
