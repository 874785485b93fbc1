import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../oci/digest.ts'
import { canonical } from '../graph/digest.ts'
import type { Graph } from '../graph/types.ts'
import { assertNothingHeld, type Bench, benchOf, build, ran, states } from '../solver/testing/builds.ts'
import { graphOf, lines, outsideOf } from '../solver/testing/chanceGraphs.ts'
import { interpret, Script } from '../solver/testing/graphs.ts'
import type { LayerRef, SolvedResult } from '../solver/types.ts'
import { cacheForm, layerKey, type TransferLayer } from './form.ts'
import { ImportedCache } from './imported.ts'
import { readCacheForm } from './readForm.ts'
import { stacksOf } from './transferLayers.ts'

/** From one builder to another, over a model of file systems. */

const images = { base: { '/base': 'base' }, other: { '/other': 'other' } }
const outside = (text = 'text') => ({ images, locals: { context: { '/file': text, '/aside': 'x' } } })

/** A stage that makes something, and one that copies it. */
const twoStages = (command = 'last', ignoreCache = false): Graph => {
  const script = new Script()
  const context = script.local()
  const copied = script.copy(script.image('base'), context, ['/file', '/in'])
  const made = script.run(script.run(copied, 'compile'), 'link')
  const result = script.copy(script.image('other'), made, ['/made', '/out'])
  return script.graph(script.run(result, command, ignoreCache ? { step: { ignoreCache } } : {}))
}

const diffIdOf = (bench: Bench, layer: LayerRef) =>
  digestOf(canonical(Object.fromEntries(bench.world.layers.get(layerKey(layer)) ?? [])))

/** What one builder exports, read by another, which has the layers. */
const moved = (
  from: Bench,
  to: Bench,
  { tree, results }: { tree: { layers: readonly LayerRef[] }; results: SolvedResult[] },
  mode: 'min' | 'max' = 'max',
): ImportedCache => {
  const layers = new Map<string, TransferLayer>()
  for (const layer of stacksOf({ trees: [tree], results }, mode).flat()) {
    const diffId = diffIdOf(from, layer)
    to.world.layers.set(diffId, from.world.layers.get(layerKey(layer)) ?? new Map())
    layers.set(layerKey(layer), { digest: diffId, diffId, mediaType: 'layer', size: 1 })
  }
  const text = JSON.stringify(cacheForm(results, layers))
  const { records, others } = readCacheForm(JSON.parse(text), 'registry.test/cache:1')
  assert.equal(others, 0)
  const imported = new ImportedCache()
  imported.add(records)
  return imported
}

test('another builder finds all of it, fetches nothing of the context that it knows, and keeps it', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside())]
  const built = await build(first, twoStages())
  const imported = moved(first, second, built)
  const again = await build(second, twoStages(), { imported })
  assert.deepEqual(ran(again.done), ['[internal] load context'])
  assert.deepEqual(again.files, built.files)
  assert.equal(states(again.events)['RUN last'], 'cached')
  // Records of its own by now.
  const later = await build(second, twoStages())
  assert.deepEqual(ran(later.done), ['[internal] load context'])
  await assertNothingHeld(second)
})

test('min has the layers of the result, and by the keys of the others they are found without them', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside())]
  const imported = moved(first, second, await build(first, twoStages()), 'min')
  const again = await build(second, twoStages(), { imported })
  assert.deepEqual(ran(again.done), ['[internal] load context'])
  const [third, other] = [await benchOf(outside()), await benchOf(outside())]
  const built = await build(third, twoStages())
  const min = await build(other, twoStages('another'), { imported: moved(third, other, built, 'min') })
  assert.deepEqual(ran(min.done), ['[internal] load context', 'RUN another'])
})

test('what differs is made, on what was found', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside('changed'))]
  const imported = moved(first, second, await build(first, twoStages()))
  const changed = await build(second, twoStages(), { imported })
  assert.deepEqual(ran(changed.done).toSorted(), [
    'COPY /file /in',
    'COPY /made /out',
    'RUN compile',
    'RUN last',
    'RUN link',
    '[internal] load context',
  ])
  const third = await benchOf(outside())
  const more = await build(third, twoStages('other'), {
    imported: moved(first, third, await build(first, twoStages())),
  })
  assert.deepEqual(ran(more.done), ['[internal] load context', 'RUN other'])
})

test('nothing imported answers for a step that is to be made anew', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside())]
  const imported = moved(first, second, await build(first, twoStages()))
  const anew = await build(second, twoStages('last', true), { imported })
  assert.deepEqual(ran(anew.done), ['[internal] load context', 'RUN last'])
})

test('two builds that find the same make one record of it', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside())]
  const imported = moved(first, second, await build(first, twoStages()))
  const [one, two] = await Promise.all([
    build(second, twoStages(), { imported }),
    build(second, twoStages(), { imported }),
  ])
  assert.deepEqual(one.files, two.files)
  const descriptions = [...second.cache.all()].map(({ description }) => description)
  assert.equal(new Set(descriptions).size, descriptions.length)
})

test('what was made anew is found with what was made of it', async () => {
  const [first, second] = [await benchOf(outside()), await benchOf(outside())]
  await build(first, twoStages())
  const script = new Script()
  const anew = script.run(script.image('base'), 'anew', { step: { ignoreCache: true } })
  const built = await build(first, script.graph(script.run(anew, 'upon')))
  const imported = moved(first, second, built)
  const other = new Script()
  const same = other.graph(other.run(other.run(other.image('base'), 'anew'), 'upon'))
  assert.deepEqual(ran((await build(second, same, { imported })).done), [])
})

test('downloads, and layers that lie over any base, are found', async () => {
  const place = { ...outside(), downloads: { 'https://x/y': 'got' } }
  const graph = (base: string): Graph => {
    const script = new Script()
    const linked = script.copy(undefined, script.download('https://x/y'), ['/file', '/linked'])
    return script.graph(script.merge(script.run(script.image(base), 'below'), linked))
  }
  for (const mode of ['min', 'max'] as const) {
    const [first, second] = [await benchOf(place), await benchOf(place)]
    const imported = moved(first, second, await build(first, graph('base')), mode)
    assert.deepEqual(ran((await build(second, graph('base'), { imported })).done), [])
    // The layer does not care what it lies on.
    assert.deepEqual(ran((await build(second, graph('other'), { imported })).done), ['RUN below', 'merge'])
  }
})

const steps = (done: readonly string[]): string[] => ran(done).filter(name => !name.startsWith('[internal]'))

test('whatever a graph is, it is found elsewhere, and makes the same', async () => {
  await fc.assert(
    fc.asyncProperty(lines(false), fc.constantFrom('min', 'max'), async (made, mode) => {
      const [first, second] = [await benchOf(outsideOf()), await benchOf(outsideOf())]
      const graph = graphOf(made)
      const imported = moved(first, second, await build(first, graph), mode)
      const { files, done } = await build(second, graph, { imported })
      assert.deepEqual(new Map(Object.entries(files)), interpret(graph, second.world.outside))
      assert.deepEqual(steps(done), [])
      // What came is the second one's own by now.
      if (mode === 'max') assert.deepEqual(steps((await build(second, graph)).done), [])
      await assertNothingHeld(second)
    }),
  )
})

test('whatever is imported, results are those of doing it all', async () => {
  await fc.assert(
    fc.asyncProperty(
      ...[lines(true), lines(true), lines(true), fc.constantFrom('min', 'max'), fc.constantFrom('1', '2')],
      async (common, before, after, mode, text) => {
        const [first, second] = [await benchOf(outsideOf()), await benchOf(outsideOf())]
        const built = await build(first, graphOf([...common, ...before]))
        Object.assign(second.world.outside.locals['context'] ?? {}, { '/a': text })
        await build(second, graphOf(after))
        const imported = moved(first, second, built, mode)
        const graph = graphOf([...common, ...after])
        const { files } = await build(second, graph, { imported })
        assert.deepEqual(new Map(Object.entries(files)), interpret(graph, second.world.outside))
        await assertNothingHeld(second)
      },
    ),
  )
})
