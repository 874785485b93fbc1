import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { Database } from '../../store/database.ts'
import { Cache } from './cache.ts'
import { ids, recordOf } from './testing/rows.ts'

test('the daemon’s database keeps the cache', async t => {
  const folder = await mkdtemp(path.join(tmpdir(), 'berth-cache-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'berth.db')
  const keys = [digestOf('1')]
  const tree = { layers: [{ kind: 'snapshot' as const, id: 'x' }] }
  const first = await Database.open(file)
  const cache = await Cache.open(first, () => true)
  await cache.add(recordOf({ id: 'a', keys, tree, createdAt: 5 }))
  await cache.add(recordOf({ id: 'b' }))
  cache.used('a')
  await cache.remove(['b'], 'pruned')
  await cache.idle()
  await first.close()
  const second = await Database.open(file)
  t.after(() => second.close())
  const again = await Cache.open(second, () => true)
  assert.deepEqual(ids([...again.all()]), ['a'])
  assert.deepEqual(again.find(digestOf('1')), cache.find(digestOf('1')))
  assert.equal(again.get('a')?.usageCount, 2)
})
