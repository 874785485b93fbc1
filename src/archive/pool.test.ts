import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { WorkerPool } from './pool.ts'

const folder = (): { path: string } & Disposable => {
  const path = mkdtempSync('/tmp/berth-pool-')
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

test('a task that goes through a container’s mounts has a worker to itself, which later tasks take', async () => {
  using at = folder()
  writeFileSync(join(at.path, 'file'), Buffer.alloc(32 << 20))
  await using pool = new WorkerPool(2)
  const streams = Array.from({ length: 4 }, () => pool.stream('pack', { root: at.path, path: 'file' }))
  // Each has begun, and waits for its reader.
  for (const stream of streams) assert.equal((await stream.next()).done, false)
  assert.equal(pool.workers, 4)
  const measure = (): Promise<unknown> => pool.run('measure', { directory: at.path })
  await Promise.all(Array.from({ length: 12 }, measure))
  assert.equal(pool.workers, 6)
  for (const stream of streams) await stream.return(undefined)
  await Promise.all(Array.from({ length: 12 }, measure))
  assert.equal(pool.workers, 6)
})
