import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { logPath } from '../logConfig.ts'
import { openLog } from './read.ts'

const line = `${JSON.stringify({ log: 'said\n', stream: 'stdout', time: '2026-01-02T03:04:05Z' })}\n`

test('a log that is open is read to its end, though its container is removed before', async () => {
  const dataRoot = mkdtempSync('/tmp/berth-read-')
  const engine = { settings: { dataRoot } } as unknown as Engine
  const container = {
    id: 'c'.repeat(64),
    record: { config: { Tty: true }, hostConfig: {}, state: { status: 'exited' } },
    ...{ isRunning: false, exitListeners: new Set(), removeListeners: new Set() },
  } as unknown as Container
  const file = logPath(dataRoot, container.id)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, line.repeat(3))
  const options = { stdout: true, stderr: true, follow: true, timestamps: false, details: false }
  const { signal } = new AbortController()
  await using log = await openLog(engine, container, options as Parameters<typeof openLog>[2], signal)
  rmSync(dataRoot, { recursive: true })
  const chunks: Buffer[] = []
  for await (const batch of log.batches()) chunks.push(batch)
  assert.equal(Buffer.concat(chunks).toString(), 'said\nsaid\nsaid\n')
})
