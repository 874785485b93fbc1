import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../oci/digest.ts'
import { Cache } from './cache.ts'
import { ids, recordOf } from './testing/rows.ts'
import { MemoryStore } from './testing/world.ts'
import type { CacheRecord, LayerRef } from './types.ts'

const key = (text: string) => digestOf(text)

const treeOf = (...names: string[]) => ({ layers: names.map((id): LayerRef => ({ kind: 'snapshot', id })) })

const open = async (store = new MemoryStore(), isWhole: (record: CacheRecord) => boolean = () => true) => ({
  store,
  cache: await Cache.open(store, isWhole),
})

/** What another daemon finds. */
const reopened = (store: MemoryStore) => Cache.open(store, () => true)

test('a record is found by each of its keys, and by a later daemon, too', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('1')] }))
  await cache.link('a', [key('2')])
  for (const one of [cache, await reopened(store)]) {
    assert.equal(one.find(key('1'))?.id, 'a')
    assert.equal(one.find(key('2'))?.id, 'a')
    assert.equal(one.find(key('3')), undefined)
  }
})

test('a newer one takes the keys that both have', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'old', keys: [key('1'), key('2')] }))
  await cache.add(recordOf({ id: 'new', keys: [key('1')] }))
  for (const one of [cache, await reopened(store)]) {
    assert.equal(one.find(key('1'))?.id, 'new')
    assert.equal(one.find(key('2'))?.id, 'old')
    assert.deepEqual(one.get('old')?.keys, [key('2')])
  }
})

test('a record is found when it is written, not before, and not at all where that fails', async () => {
  const { cache, store } = await open()
  const adding = cache.add(recordOf({ id: 'a', keys: [key('1')] }))
  assert.equal(cache.find(key('1')), undefined)
  await adding
  store.failure = new Error('disk full')
  await assert.rejects(cache.add(recordOf({ id: 'b', keys: [key('1')] })), /disk full/)
  assert.equal(cache.find(key('1'))?.id, 'a')
})

test('links are bounded; the first key stays', async () => {
  const { cache } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('first')] }))
  for (let index = 0; index < 50; index++) await cache.link('a', [key(`${index}`)])
  assert.equal(cache.find(key('first'))?.id, 'a')
  assert.equal(cache.find(key('0')), undefined)
  assert.equal(cache.find(key('49'))?.id, 'a')
  assert.equal(cache.get('a')?.keys.length, 33)
})

test('what is removed is found no more, and its loss is known to the next daemon', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('1')], tree: treeOf('x') }))
  await cache.link('a', [key('2')])
  assert.deepEqual(await cache.remove(['a', 'nosuch'], 'pruned'), ['x'])
  for (const one of [cache, await reopened(store)]) {
    assert.equal(one.find(key('1')), undefined)
    assert.equal(one.loss(key('1')), 'pruned')
    // What it counted by is known by each of its keys.
    assert.equal(one.pastChain(key('2')), key('1'))
  }
  await cache.add(recordOf({ id: 'b', keys: [key('1')] }))
  assert.equal(cache.loss(key('1')), undefined)
  assert.equal((await reopened(store)).loss(key('1')), undefined)
})

test('what is held, or stood on by what stays, stays', async () => {
  const { cache } = await open()
  await cache.add(recordOf({ id: 'base', tree: treeOf('x') }))
  await cache.add(recordOf({ id: 'step', parents: ['base'], tree: treeOf('x', 'y') }))
  const hold = cache.hold('step')
  assert.deepEqual(await cache.remove(['base', 'step'], 'pruned'), [])
  hold[Symbol.dispose]()
  hold[Symbol.dispose]()
  assert.deepEqual(await cache.remove(['base'], 'pruned'), [])
  assert.deepEqual((await cache.remove(['base', 'step'], 'pruned')).sort(), ['x', 'y'])
})

test('only snapshots that no record has are given to be removed', async () => {
  const { cache } = await open()
  await cache.add(recordOf({ id: 'a', tree: treeOf('x', 'y') }))
  await cache.add(recordOf({ id: 'b', tree: treeOf('x') }))
  assert.deepEqual(await cache.remove(['a'], 'pruned'), ['y'])
  assert.equal(cache.hasSnapshot('x'), true)
  assert.deepEqual(await cache.remove(['b'], 'pruned'), ['x'])
  assert.equal(cache.hasSnapshot('x'), false)
})

test('what is lost loses its keys even where it is held', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('1')] }))
  using _hold = cache.hold('a')
  await cache.remove(['a'], 'lost')
  for (const one of [cache, await reopened(store)]) {
    assert.equal(one.find(key('1')), undefined)
    assert.equal(one.loss(key('1')), 'lost')
    assert.ok(one.get('a'))
  }
})

test('where removing cannot be written, all stays as it is', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('1')] }))
  store.failure = new Error('disk full')
  await assert.rejects(cache.remove(['a'], 'pruned'), /disk full/)
  assert.equal(cache.find(key('1'))?.id, 'a')
})

test('records whose trees a crash took are dropped when the cache is opened', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'whole', keys: [key('1')] }))
  await cache.add(recordOf({ id: 'broken', keys: [key('2')] }))
  const { cache: next } = await open(store, ({ id }) => id === 'whole')
  assert.deepEqual(ids([...next.all()]), ['whole'])
  assert.equal(next.loss(key('2')), 'lost')
  assert.deepEqual(ids([...(await reopened(store)).all()]), ['whole'])
})

test('uses are counted at once, and written soon, also while a link is', async () => {
  const { cache, store } = await open()
  await cache.add(recordOf({ id: 'a', keys: [key('1')], createdAt: 5 }))
  assert.equal(cache.get('a')?.lastUsedAt, 5)
  const linking = cache.link('a', [key('2')])
  cache.used('a')
  cache.used('a')
  await linking
  await cache.idle()
  for (const one of [cache, await reopened(store)]) {
    assert.equal(one.get('a')?.usageCount, 3)
    assert.ok((one.get('a')?.lastUsedAt ?? 0) > 5)
  }
})

test('names of files are kept within a bound: the oldest records forget theirs', async () => {
  const { cache } = await open()
  const made = (path: string): NonNullable<CacheRecord['made']> => ({
    described: '',
    name: '',
    operation: key(''),
    settings: {},
    inputs: [{ role: '', from: '', files: [[path, '']] }],
  })
  for (const id of ['a', 'b', 'c']) await cache.add(recordOf({ id, made: made(id.repeat(7 << 20)) }))
  const kept = [...cache.all()].filter(record => record.made?.inputs[0]?.files)
  assert.deepEqual(ids(kept), ['b', 'c'])
})

/** Whatever is done, the next daemon finds what this one does. */
test('what is in memory is what is written', async () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd')
  const some = fc.array(fc.constantFrom('1', '2', '3', '4').map(key), { maxLength: 3 })
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), id, keys: some, parent: id }),
    fc.record({ do: fc.constant('link' as const), id, keys: some }),
    fc.record({
      do: fc.constant('remove' as const),
      id,
      loss: fc.constantFrom('pruned' as const, 'lost' as const),
    }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async steps => {
      const { cache, store } = await open()
      await Promise.all(
        steps.map(step => {
          if (step.do === 'link') return cache.link(step.id, step.keys)
          if (step.do === 'remove') return cache.remove([step.id], step.loss)
          return cache.get(step.id) ? undefined : cache.add(recordOf({ id: step.id, keys: step.keys }))
        }),
      )
      const next = await reopened(store)
      const byId = (records: Iterable<CacheRecord>) =>
        new Map([...records].map(record => [record.id, record]))
      assert.deepEqual(byId(next.all()), byId(cache.all()))
      for (const text of ['1', '2', '3', '4']) {
        assert.equal(next.find(key(text))?.id, cache.find(key(text))?.id)
        assert.equal(next.loss(key(text)), cache.loss(key(text)))
      }
    }),
  )
})
