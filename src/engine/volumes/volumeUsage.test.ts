import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TreeSize } from '../../archive/measure.ts'
import type { WorkerPool } from '../../archive/pool.ts'
import type { Volumes } from './volumes.ts'
import { VolumeUsage } from './volumeUsage.ts'

const record = { name: 'one', created: '', labels: {}, options: {} }

/** Counts that end when the test says so. */
const stage = () => {
  const counts: PromiseWithResolvers<TreeSize>[] = []
  const written = new Set<string>()
  const run = (): Promise<TreeSize> => {
    const count = Promise.withResolvers<TreeSize>()
    counts.push(count)
    return count.promise
  }
  const usage = new VolumeUsage({
    volumes: { home: (name: string) => name } as Volumes,
    pool: { run } as unknown as WorkerPool,
    isWritten: name => written.has(name),
  })
  const ask = async (): Promise<number> => (await usage.sizeOf(record)).size
  const end = async (index: number, size: number): Promise<void> => {
    counts[index]?.resolve({ size, diskBytes: 0, entries: 0 })
    await new Promise(resolve => setImmediate(resolve))
  }
  return { counts, written, usage, ask, end }
}

test('who asks at once waits for one count, and it is kept while nothing writes', async () => {
  const { counts, ask, end, usage } = stage()
  const both = Promise.all([ask(), ask()])
  await end(0, 7)
  assert.deepEqual(await both, [7, 7])
  assert.equal(await ask(), 7)
  assert.equal(counts.length, 1)
  usage.touch('one')
  const again = ask()
  await end(1, 8)
  assert.equal(await again, 8)
})

test('what was counted while somebody wrote is told, but not kept', async () => {
  const { counts, ask, end, usage, written } = stage()
  written.add('one')
  const first = ask()
  await end(0, 1)
  assert.equal(await first, 1)
  written.clear()
  const second = ask()
  usage.touch('one')
  const third = ask()
  await end(1, 2)
  await end(2, 3)
  assert.deepEqual(await Promise.all([second, third]), [2, 3])
  assert.equal(await ask(), 3)
  assert.equal(counts.length, 3)
})

test('a count that fails is made again', async () => {
  const { counts, ask, end } = stage()
  const first = ask()
  await new Promise(resolve => setImmediate(resolve))
  counts[0]?.reject(new Error('the disk broke'))
  await assert.rejects(first, /the disk broke/)
  const second = ask()
  await new Promise(resolve => setImmediate(resolve))
  await end(1, 5)
  assert.equal(await second, 5)
})
