import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { ExecMount } from '../graph/types.ts'
import { assertNothingHeld, type Bench, benchOf, build, ran, states } from './testing/builds.ts'
import { execOf, interpret, Script, vertexOf } from './testing/graphs.ts'
import type { CacheRecord } from './types.ts'

const images = { alpine: { '/bin/sh': 'sh', '/etc/passwd': 'root' } }

const twoSteps = (step: { ignoreCache?: boolean } = {}) => {
  const script = new Script()
  return script.graph(script.run(script.run(script.image('alpine'), 'one', { step }), 'two'))
}

test('a second build runs nothing and gives the same', async () => {
  const bench = await benchOf({ images })
  const first = await build(bench, twoSteps())
  assert.deepEqual(ran(first.done), ['RUN one', 'RUN two'])
  assert.deepEqual(first.files, Object.fromEntries(interpret(twoSteps(), bench.world.outside)))
  const second = await build(bench, twoSteps())
  assert.deepEqual(ran(second.done), [])
  assert.deepEqual(second.tree, first.tree)
  assert.equal(states(second.events)['RUN two'], 'cached')
  await assertNothingHeld(bench)
})

test('a hit needs no input, not even one that is gone', async () => {
  const bench = await benchOf({ images })
  await build(bench, twoSteps())
  const [one] = [...bench.cache.all()].filter(({ description }) => description.endsWith('one'))
  assert.ok(one)
  // Its record goes as if it had never been found again; what stands on it is whole.
  const two = [...bench.cache.all()].find(({ description }) => description.endsWith('two'))
  assert.deepEqual(two?.parents, [one.id])
  const script = new Script()
  const more = script.graph(script.run(script.run(script.run(script.image('alpine'), 'one'), 'two'), 'three'))
  const third = await build(bench, more)
  assert.deepEqual(ran(third.done), ['RUN three'])
})

test('a copy counts by what it takes of a step that ran again, and steps above are found by that', async () => {
  const bench = await benchOf({ images, locals: { context: { '/src': '1', '/other': '1' } } })
  const graph = () => {
    const script = new Script()
    const source = script.copy(script.image('alpine'), script.local(), ['/', '/work'])
    const made = script.run(source, 'make')
    const copied = script.copy(script.image('alpine'), made, ['/bin', '/bin'])
    return script.graph(script.run(copied, 'last'))
  }
  assert.deepEqual(ran((await build(bench, graph())).done), [
    '[internal] load context',
    'COPY / /work',
    'RUN make',
    'COPY /bin /bin',
    'RUN last',
  ])
  bench.world.outside.locals['context'] = { '/src': '2', '/other': '1' }
  const again = await build(bench, graph())
  assert.deepEqual(ran(again.done), ['[internal] load context', 'COPY / /work', 'RUN make'])
  // The new way to what was copied is known now: the copy need not be looked into any more.
  const third = await build(bench, graph())
  assert.deepEqual(ran(third.done), ['[internal] load context'])
  assert.deepEqual(
    third.done.filter(text => text === 'content /bin'),
    [],
  )
  await assertNothingHeld(bench)
})

test('what is not needed never runs', async () => {
  const bench = await benchOf({ images })
  const script = new Script()
  script.run(script.image('alpine'), 'unneeded')
  const graph = script.graph(script.run(script.image('alpine'), 'needed'))
  assert.deepEqual(ran((await build(bench, graph)).done), ['RUN needed'])
})

test('what a hit took is not made again where it was pruned', async () => {
  const bench = await benchOf({ images })
  const graph = () => {
    const script = new Script()
    const made = script.run(script.run(script.image('alpine'), 'below'), 'made')
    return script.graph(script.copy(script.image('alpine'), made, ['/bin', '/x']))
  }
  await build(bench, graph())
  await setImmediate()
  const steps = [...bench.cache.all()].filter(({ description }) => description.includes('exec'))
  for (const id of await bench.cache.remove(
    steps.map(({ id }) => id),
    'pruned',
  ))
    bench.world.layers.delete(id)
  assert.deepEqual(ran((await build(bench, graph())).done), [])
})

/** Two steps of which neither goes on before the other has begun. */
const sideBySide = (bench: Bench, names: string[]): void => {
  const [reached, waiting] = [Promise.withResolvers<void>(), new Set<string>()]
  bench.world.hook = async (what, { step }) => {
    if (what !== 'run' || !names.includes(step.name)) return
    if (waiting.add(step.name).size === names.length) reached.resolve()
    await reached.promise
  }
}

const twoStages = (step: { ignoreCache?: boolean } = {}) => {
  const script = new Script()
  const left = script.run(script.image('alpine'), 'left', { step })
  const right = script.run(script.image('alpine'), 'right', { step })
  return script.graph(script.run(script.copy(left, right, ['/made', '/x'], step), 'last', { step }))
}

test('stages that need nothing of one another run side by side, before the one that takes both is planned', async () => {
  const bench = await benchOf({ images })
  sideBySide(bench, ['RUN left', 'RUN right'])
  assert.ok('/made/last' in (await build(bench, twoStages())).files)
})

test('so do those that are made anew', async () => {
  const bench = await benchOf({ images })
  await build(bench, twoStages())
  sideBySide(bench, ['RUN left', 'RUN right'])
  const { done } = await build(bench, twoStages({ ignoreCache: true }))
  assert.equal(ran(done).length, 4)
})

test('a client’s folder that something is made upon is kept by its content', async () => {
  const bench = await benchOf({ locals: { context: { '/x': '1' } } })
  const script = new Script()
  const graph = script.graph(script.run(script.local(), 'make'))
  const [first, second] = await Promise.all([build(bench, graph), build(bench, graph)])
  assert.deepEqual(first.tree, second.tree)
  const [folder, step] = [...bench.cache.all()]
  assert.deepEqual([folder?.kind, folder?.description], ['source.local', 'local source for context'])
  assert.deepEqual(folder?.tree.layers, first.tree.layers.slice(0, 1))
  assert.deepEqual(step?.parents, [folder?.id])
  bench.world.outside.locals['context'] = { '/x': '2' }
  assert.deepEqual(ran((await build(bench, graph)).done), ['[internal] load context', 'RUN make'])
  await assertNothingHeld(bench)
})

test('a step made anew replaces the old one, and nothing that stands on that is found by it', async () => {
  const bench = await benchOf({ images })
  const first = await build(bench, twoSteps())
  const anew = await build(bench, twoSteps({ ignoreCache: true }))
  assert.deepEqual(ran(anew.done), ['RUN one', 'RUN two'])
  assert.notDeepEqual(anew.tree, first.tree)
  const after = await build(bench, twoSteps())
  assert.deepEqual(ran(after.done), [])
  assert.deepEqual(after.tree, anew.tree)
  await assertNothingHeld(bench)
})

test('what is to be made anew is so once in a build, however often that solves it', async () => {
  const bench = await benchOf({ images })
  const context = { id: 'x', signal: new AbortController().signal }
  const solve = async () => {
    await using solution = await bench.solver.solve({
      build: context,
      graph: twoSteps({ ignoreCache: true }),
      tell: () => {},
    })
    return solution.trees
  }
  assert.deepEqual(await solve(), await solve())
  assert.deepEqual(ran(bench.world.done), ['RUN one', 'RUN two'])
  await build(bench, twoSteps({ ignoreCache: true }))
  assert.equal(ran(bench.world.done).length, 4)
})

test('a step with several results has a record for each, and runs again for one that is missing', async () => {
  const bench = await benchOf({ images })
  const script = new Script()
  const mounts: ExecMount[] = ['/', '/more'].map((target, output) => {
    return { kind: 'bind', target, readOnly: false, input: 0, source: '/', output }
  })
  const inputs = [script.image('alpine')]
  const made = script.builder.add(vertexOf({ operation: execOf({ mounts, args: ['both'] }), inputs }))
  const last = script.run({ ...made, index: 1 }, 'last')
  const first = await build(bench, script.graph(last))
  assert.deepEqual(ran(first.done), ['exec', 'RUN last'])
  assert.equal([...bench.cache.all()].length, 3)
  const both = script.graph(script.merge(made, last))
  assert.deepEqual(ran((await build(bench, both)).done), ['merge'])
  await setImmediate()
  const second = [...bench.cache.all()].find(
    ({ description }) => description === 'mount /more from exec both',
  )
  assert.ok(second)
  bench.world.layers.delete(idOf(second))
  const again = script.graph(script.run({ ...made, index: 1 }, 'other'))
  assert.deepEqual(ran((await build(bench, again)).done), ['exec', 'RUN other'])
  await assertNothingHeld(bench)
})

const idOf = ({ tree }: CacheRecord): string => {
  const layer = tree.layers.at(-1)
  return layer?.kind === 'snapshot' ? layer.id : ''
}

test('a record whose files are gone is made again', async () => {
  const bench = await benchOf({ images })
  const { tree } = await build(bench, twoSteps())
  const top = tree.layers.at(-1)
  assert.ok(top?.kind === 'snapshot')
  bench.world.layers.delete(top.id)
  const again = await build(bench, twoSteps())
  assert.deepEqual(ran(again.done), ['RUN two'])
  const causes = again.events.flatMap(event => (event.kind === 'causes' ? event.causes : []))
  assert.deepEqual(causes, [{ kind: 'lost' }])
})

test('a result that cannot be recorded fails its build and is removed', async () => {
  const bench = await benchOf({ images })
  bench.store.failure = new Error('disk full')
  await assert.rejects(build(bench, twoSteps()), /disk full/)
  await assertNothingHeld(bench)
})

test('what is held while it is wanted goes only afterwards', async () => {
  const bench = await benchOf({ images })
  const solution = await bench.solver.solve({
    build: { id: 'x', signal: new AbortController().signal },
    graph: twoSteps(),
    tell: () => {},
  })
  const ids = [...bench.cache.all()].map(({ id }) => id)
  await setImmediate()
  assert.deepEqual(await bench.cache.remove(ids, 'pruned'), [])
  await solution[Symbol.asyncDispose]()
  assert.equal((await bench.cache.remove(ids, 'pruned')).length, 2)
})

test('a graph without a result gives nothing', async () => {
  const bench = await benchOf()
  assert.deepEqual((await build(bench, { vertices: new Map(), result: undefined })).files, {})
})

test('a long file is solved without a long stack', async () => {
  const bench = await benchOf({ images })
  const script = new Script()
  let edge = script.image('alpine')
  // Each over nothing, so that what is kept of them stays short.
  for (let index = 0; index < 3000; index++) edge = script.copy(undefined, edge, ['/bin', '/bin'])
  const { files } = await build(bench, script.graph(edge))
  assert.deepEqual(files, { '/bin/sh': 'sh' })
})

test('a build that is aborted before it begins does nothing', async () => {
  const bench = await benchOf({ images })
  await assert.rejects(build(bench, twoSteps(), { signal: AbortSignal.abort(new Error('no')) }), /no/)
  assert.deepEqual(bench.world.done, [])
})
