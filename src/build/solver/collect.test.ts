import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { Cache } from './cache.ts'
import { Collector, type CollectorOptions, usageNow } from './collect.ts'
import { createSolver } from './solver.ts'
import { benchOf, build } from './testing/builds.ts'
import { Script } from './testing/graphs.ts'
import { ids, recordOf } from './testing/rows.ts'
import { MemoryStore } from './testing/world.ts'
import type { LayerRef } from './types.ts'
import type { UsageRow } from './usage.ts'

const layers = (...names: string[]): { layers: LayerRef[] } => ({
  layers: names.map(id => ({ kind: 'snapshot', id })),
})

const noOthers = { others: async () => [], removeOthers: async () => [] }

const collectorOf = async (own: Partial<CollectorOptions> = {}) => {
  const cache = await Cache.open(new MemoryStore(), () => true)
  const removed: string[] = []
  const options: CollectorOptions = {
    cache,
    layerSizes: async () => new Map(['x', 'y', 'z'].map(id => [id, 10])),
    sharing: () => () => false,
    free: async () => 1000,
    removeSnapshots: async ids => void removed.push(...ids),
    ...noOthers,
    rules: [],
    cap: 1000,
    ...own,
  }
  await cache.add(recordOf({ id: 'base', keys: [digestOf('1')], tree: layers('x') }))
  await cache.add(recordOf({ id: 'step', keys: [digestOf('2')], tree: layers('x', 'y'), parents: ['base'] }))
  return { cache, removed, collector: new Collector(options), options }
}

test('a record’s size is that of its own layers', async () => {
  const { options } = await collectorOf()
  assert.deepEqual(
    (await usageNow(options)).map(({ id, size }) => [id, size]),
    [
      ['base', 10],
      ['step', 10],
    ],
  )
})

test('pruning removes records and then the snapshots that nobody has', async () => {
  const { cache, removed, collector } = await collectorOf()
  await cache.add(recordOf({ id: 'twin', tree: layers('y') }))
  using _hold = cache.hold('twin')
  assert.deepEqual(ids(await collector.prune({})), ['step', 'base'])
  assert.deepEqual(removed, ['x'])
  assert.deepEqual(ids([...cache.all()]), ['twin'])
})

test('the rules are kept', async () => {
  const { cache, collector } = await collectorOf({ rules: [{ maxUsedSpace: 15 }] })
  await collector.collect()
  assert.deepEqual(ids([...cache.all()]), ['base'])
})

test('what a build takes after it was chosen stays', async () => {
  const { cache, removed, collector } = await collectorOf({
    free: async () => {
      cacheOf.cache.hold('base')
      return 0
    },
  })
  const cacheOf = { cache }
  assert.deepEqual(ids(await collector.prune({})), ['step'])
  assert.deepEqual(removed, ['y'])
})

test('cache mounts and folders go as records do, but for those that were taken meanwhile', async () => {
  const row = (id: string): UsageRow => ({
    ...{
      id,
      kind: 'exec.cachemount',
      description: id,
      parents: [],
      inUse: false,
      held: false,
      shared: false,
    },
    ...{ mutable: true, size: 5, createdAt: 1, lastUsedAt: 1, usageCount: 1, duration: 0, found: true },
  })
  const { collector, options } = await collectorOf({
    others: async () => [row('free'), row('taken')],
    removeOthers: async wanted => wanted.filter(id => id === 'free'),
  })
  assert.deepEqual((await usageNow(options)).map(({ id }) => id).toSorted(), [
    'base',
    'free',
    'step',
    'taken',
  ])
  assert.deepEqual(ids(await collector.prune({ filter: ({ kind }) => kind === 'exec.cachemount' })), ['free'])
})

test('the cap holds while a build runs, and what the build has stays', async () => {
  const bench = await benchOf({ images: { alpine: { '/a': '1' } } })
  const { world, cache } = bench
  const collector = new Collector({
    cache,
    layerSizes: async () => new Map([...world.layers.keys()].map(id => [id, 10])),
    sharing: () => () => false,
    free: async () => 1000,
    removeSnapshots: async ids => {
      for (const id of ids) world.layers.delete(id)
    },
    ...noOthers,
    rules: [],
    cap: 25,
  })
  const pending: Promise<void>[] = []
  const recorded = (): void => void pending.push(collector.recorded(10))
  const solver = createSolver({ runner: world, cache, width: 2, recorded })
  const chain = (...commands: string[]) => {
    const script = new Script()
    return script.graph(commands.reduce((edge, command) => script.run(edge, command), script.image('alpine')))
  }
  for (const command of ['a', 'b', 'c', 'd']) {
    await build({ ...bench, solver }, chain(command))
    await new Promise(resolve => setImmediate(resolve))
  }
  await collector.recorded(0)
  assert.ok([...cache.all()].length <= 2)
  // One that alone has more than that is not hindered.
  assert.equal((await build({ ...bench, solver }, chain('1', '2', '3', '4'))).tree.layers.length, 5)
  await new Promise(resolve => setImmediate(resolve))
  await Promise.all(pending)
  await collector.recorded(0)
  assert.ok([...cache.all()].length <= 2)
})

test('all that is there is looked at only where what came may be too much', async () => {
  const bench = await benchOf({ images: { alpine: { '/a': '1' } } })
  let looks = 0
  const collector = new Collector({
    cache: bench.cache,
    layerSizes: async () => {
      looks++
      return new Map()
    },
    sharing: () => () => false,
    free: async () => 1000,
    removeSnapshots: async () => {},
    ...noOthers,
    rules: [],
    cap: 100,
  })
  await collector.collect()
  for (const bytes of [40, 40, 20]) await collector.recorded(bytes)
  assert.equal(looks, 1)
  await collector.recorded(1)
  assert.equal(looks, 2)
  await collector.collect()
  assert.equal(looks, 2)
  await collector.recorded(1)
  await collector.collect()
  assert.equal(looks, 3)
})
