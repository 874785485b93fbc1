import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { assertNothingHeld, type Bench, benchOf, build, ran } from './testing/builds.ts'
import { graphOf, lines, outsideOf, paths } from './testing/chanceGraphs.ts'
import { interpret, Script } from './testing/graphs.ts'

/** Graphs by chance over a model world, compared with doing them from their beginning. */

/** Folders of clients come for each build that finds them in use. */
const doubledSteps = ({ doubled }: { doubled: string[] }): string[] =>
  doubled.filter(name => !name.startsWith('[internal]'))

const keysOf = (cache: { all(): Iterable<{ keys: string[] }> }): string[] =>
  [...cache.all()].flatMap(({ keys }) => keys).sort()

test('results are those of doing it all, whatever was built before', async () => {
  const change = fc.record({ path: fc.constantFrom(...paths), text: fc.constantFrom('1', '2', '3') })
  const builds = fc.array(fc.record({ lines: lines(true), change }), { minLength: 1, maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(builds, async steps => {
      const bench = await benchOf(outsideOf())
      for (const { lines, change } of steps) {
        Object.assign(bench.world.outside.locals['context'] ?? {}, { [change.path]: change.text })
        const graph = graphOf(lines)
        const { files } = await build(bench, graph)
        assert.deepEqual(new Map(Object.entries(files)), interpret(graph, bench.world.outside))
      }
      await assertNothingHeld(bench)
    }),
  )
})

test('the same graph on two empty caches has the same keys', async () => {
  await fc.assert(
    fc.asyncProperty(lines(false), async lines => {
      const [a, b] = [await benchOf(outsideOf()), await benchOf(outsideOf())]
      await build(a, graphOf(lines))
      await build(b, graphOf(lines))
      assert.deepEqual(keysOf(a.cache), keysOf(b.cache))
    }),
  )
})

test('a second build runs nothing but folders of clients, however it was found', async () => {
  await fc.assert(
    fc.asyncProperty(lines(false), async lines => {
      const bench = await benchOf(outsideOf())
      await build(bench, graphOf(lines))
      const { done } = await build(bench, graphOf(lines))
      assert.deepEqual(
        ran(done).filter(name => !name.startsWith('[internal]')),
        [],
      )
    }),
  )
})

test('whatever was pruned below a result that is there, nothing runs for it', async () => {
  await fc.assert(
    fc.asyncProperty(lines(false), fc.infiniteStream(fc.boolean()), async (lines, chances) => {
      const bench = await benchOf(outsideOf())
      const first = await build(bench, graphOf(lines))
      await setImmediate()
      const kept = [...bench.cache.all()].find(({ tree }) => isDeepStrictEqual(tree, first.tree))
      const pruned = [...bench.cache.all()].filter(({ id }) => id !== kept?.id && chances.next().value)
      for (const id of await bench.cache.remove(
        pruned.map(({ id }) => id),
        'pruned',
      ))
        bench.world.layers.delete(id)
      const { done, tree } = await build(bench, graphOf(lines))
      if (!kept) return
      assert.deepEqual(tree, first.tree)
      assert.deepEqual(
        ran(done).filter(name => !name.startsWith('[internal]')),
        [],
      )
    }),
  )
})

test('what a step sees changes its key, and nothing else does', async () => {
  const change = fc.constantFrom(...paths)
  await fc.assert(
    fc.asyncProperty(change, change, async (seen, changed) => {
      const bench = await benchOf(outsideOf())
      const script = new Script()
      const [alpine, context] = [script.image('alpine'), script.local()]
      const copied = script.copy(alpine, context, [seen, '/x'])
      const bound = script.run(alpine, 'bound', { mounts: [[context, seen]] })
      const graph = script.graph(script.merge(copied, bound))
      await build(bench, graph)
      const before = keysOf(bench.cache)
      Object.assign(bench.world.outside.locals['context'] ?? {}, { [changed]: 'changed' })
      const { done } = await build(bench, graph)
      const again = ran(done).filter(name => !name.startsWith('[internal]'))
      assert.deepEqual(again.sort(), seen === changed ? [`COPY ${seen} /x`, 'RUN bound', 'merge'].sort() : [])
      assert.equal(keysOf(bench.cache).length, before.length + again.length)
    }),
  )
})

/** All that may go goes, with its files. */
const prune = async ({ cache, world }: Bench): Promise<void> => {
  const ids = [...cache.all()].map(({ id }) => id)
  for (const id of await cache.remove(ids, 'pruned')) world.layers.delete(id)
}

/** What befalls a build, in turns of the loop after it begins. */
const fate = fc.record({
  lines: lines(true),
  begins: fc.nat(6),
  aborts: fc.option(fc.nat(30), { nil: undefined }),
})

test('whatever comes between, steps run one at a time, results are right, and nothing is held at the end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fate, { minLength: 1, maxLength: 4 }),
      fc.infiniteStream(fc.nat(3)),
      fc.option(fc.nat(40), { nil: undefined }),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.boolean(), { maxLength: 5 }),
      lines(false),
      async (fates, waits, failing, width, prunes, common) => {
        const bench = await benchOf(outsideOf(), width)
        await build(bench, graphOf(common))
        await setImmediate()
        let steps = 0
        let most = 0
        let running = 0
        bench.world.hook = async (kind, { operation }) => {
          const isSource = operation.kind === 'local' || operation.kind === 'merge'
          const what = isSource ? 'fetch' : kind
          if (what === 'run') most = Math.max(most, ++running)
          for (let turns = waits.next().value ?? 0; turns > 0; turns--) await setImmediate()
          if (what === 'run') running--
          if (kind !== 'content' && steps++ === failing) throw new Error('broken')
        }
        let isOver = false
        const pruning = (async () => {
          for (let turn = 0; prunes.length > 0 && !isOver; turn++) {
            if (prunes[turn % prunes.length]) await prune(bench)
            await setImmediate()
          }
        })()
        await Promise.all(
          fates.map(async ({ lines, begins, aborts }) => {
            for (let turns = begins; turns > 0; turns--) await setImmediate()
            const controller = new AbortController()
            const graph = graphOf([...common, ...lines])
            const built = build(bench, graph, { signal: controller.signal })
            built.catch(() => {})
            for (let turns = aborts ?? 0; turns > 0; turns--) await setImmediate()
            if (aborts !== undefined) controller.abort(new Error('aborted'))
            try {
              const { files } = await built
              assert.deepEqual(new Map(Object.entries(files)), interpret(graph, bench.world.outside))
            } catch (error) {
              assert.ok(error instanceof Error && /^(broken|aborted)$/.test(error.message), `${error}`)
            }
          }),
        )
        isOver = true
        await pruning
        const isOrdinary = fates.every(({ lines }) => lines.every(({ anew }) => !anew))
        if (isOrdinary) assert.deepEqual(doubledSteps(bench.world), [])
        assert.ok(most <= width)
        await assertNothingHeld(bench)
      },
    ),
    { numRuns: 150 },
  )
})

test('builds that run side by side run each step once', async () => {
  await fc.assert(
    fc.asyncProperty(lines(false), fc.infiniteStream(fc.nat(3)), async (lines, waits) => {
      const bench = await benchOf(outsideOf())
      bench.world.hook = async () => {
        for (let turns = waits.next().value ?? 0; turns > 0; turns--) await setImmediate()
      }
      await Promise.all([1, 2, 3].map(() => build(bench, graphOf(lines))))
      const names = ran(bench.world.done).filter(name => name.startsWith('RUN'))
      assert.deepEqual(names.sort(), [...new Set(names)].sort())
      assert.deepEqual(doubledSteps(bench.world), [])
    }),
  )
})
