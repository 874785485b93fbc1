import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'

/** Checks of a daemon's store, and damage made by hand in its data root. */

export interface Finding {
  Kind: string
  Id: string
  Text: string
  Images: string[]
  Containers: string[]
  Differences?: { Path: string; Text: string }[]
  Repair?: { Result: string; Text: string }
}

export interface Summary {
  Blobs: number
  Layers: number
  UnverifiableLayers: number
  Damaged: number
  Repaired: number
  Quarantine: { Name: string; Digest: string; Why: string; Images: string[] }[]
}

interface Line {
  Finding?: Finding
  Summary?: Summary
  error?: string
}

export interface Checked {
  status: number
  lines: Line[]
  findings: Finding[]
  /** Absent where it failed. */
  summary: Summary | undefined
  error: string | undefined
}

/** `query` goes on from `/berth/v1/system/check?`. */
export const check = async (daemon: TestDaemon, query = ''): Promise<Checked> => {
  const { status, text } = await daemon.api('POST', `/berth/v1/system/check?${query}`)
  const lines = text.split('\n').flatMap(line => (line.trim() ? [JSON.parse(line) as Line] : []))
  return {
    status,
    lines,
    findings: lines.flatMap(line => line.Finding ?? []),
    summary: lines.at(-1)?.Summary,
    error: lines.at(-1)?.error,
  }
}

export const isClean = async (daemon: TestDaemon): Promise<void> => {
  const { findings, summary, error } = await check(daemon)
  assert.deepEqual([error, findings], [undefined, []])
  assert.equal(summary?.Damaged, 0)
}

export const blobPath = (daemon: TestDaemon, digest: string): string =>
  path.join(daemon.dataRoot, 'blobs/sha256', digest.replace('sha256:', ''))

/** A bit in the middle of a file. */
export const flip = (file: string): void => {
  const bytes = readFileSync(file)
  const at = bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

/** The folder of the unpacked layer that has this file. */
export const layerWith = (daemon: TestDaemon, file: string): string => {
  const layers = path.join(daemon.dataRoot, 'layers')
  const names = readdirSync(layers).filter(name => !name.startsWith('.'))
  const name = names.find(entry => {
    try {
      readFileSync(path.join(layers, entry, 'diff', file))
      return true
    } catch {
      return false
    }
  })
  assert.ok(name, `no layer has ${file}`)
  return path.join(layers, name)
}
