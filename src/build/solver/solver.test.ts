import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { hasCode } from '../../core/errors.ts'
import type { ExecMount, Graph } from '../graph/types.ts'
import { SolveError } from './errors.ts'
import { assertNothingHeld, type Bench, benchOf, build, ran, states } from './testing/builds.ts'
import { execOf, interpret, Script, vertexOf } from './testing/graphs.ts'
import type { BuildEvent, CacheRecord } from './types.ts'

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

test('a folder of a client waits for no process of another build', async () => {
  const bench = await benchOf({ images, locals: { context: { '/a': '1' } } }, 1)
  const step = held(bench, 'RUN one')
  const first = build(bench, twoSteps())
  await step.reached
  const script = new Script()
  const loaded = Promise.withResolvers<void>()
  const { hook } = bench.world
  bench.world.hook = async (what, vertex, signal) => {
    if (vertex.operation.kind === 'local') loaded.resolve()
    await hook(what, vertex, signal)
  }
  const second = build(bench, script.graph(script.copy(undefined, script.local(), ['/a', '/b'])))
  await loaded.promise
  await setImmediate()
  assert.deepEqual(ran(bench.world.done), ['RUN one', '[internal] load context'])
  step.go()
  await Promise.all([first, second])
  assert.ok(ran(bench.world.done).includes('COPY /a /b'))
})

test('folders of clients are those of the build, however equal their vertices', async () => {
  const bench = await benchOf({ locals: { 'a/context': { '/x': 'a' }, 'b/context': { '/x': 'b' } } })
  const script = new Script()
  const graph = script.graph(script.copy(undefined, script.local(), ['/x', '/y']))
  const [a, b] = await Promise.all([build(bench, graph, { id: 'a' }), build(bench, graph, { id: 'b' })])
  assert.deepEqual([a.files, b.files], [{ '/y': 'a' }, { '/y': 'b' }])
  await assertNothingHeld(bench)
})

test('equal steps of two builds run once, and both hear of them', async () => {
  const bench = await benchOf({ images })
  bench.world.hook = async () => await setImmediate()
  const both = await Promise.all([build(bench, twoSteps()), build(bench, twoSteps())])
  assert.deepEqual(ran(bench.world.done).sort(), ['RUN one', 'RUN two'])
  for (const { events } of both) assert.equal(states(events)['RUN two'], 'done')
  await assertNothingHeld(bench)
})

/** A world in which a step waits for the test; its cleaning up after an abort does, too. */
const held = (bench: Bench, name: string) => {
  const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const aborted = Promise.withResolvers<void>()
  bench.world.hook = async (what, vertex, signal) => {
    if (what !== 'run' || vertex.step.name !== name) return
    reached.resolve()
    signal.addEventListener('abort', () => aborted.resolve())
    await go.promise
  }
  return { reached: reached.promise, go: () => go.resolve(), aborted: aborted.promise }
}

test('a build that ends leaves a shared step to the other; the last one takes it along', async () => {
  const bench = await benchOf({ images })
  const step = held(bench, 'RUN one')
  const [first, second] = [new AbortController(), new AbortController()]
  const events: BuildEvent[] = []
  const a = build(bench, twoSteps(), { signal: first.signal, events })
  const b = build(bench, twoSteps(), { signal: second.signal })
  await step.reached
  const reason = new Error('enough')
  first.abort(reason)
  await assert.rejects(a, reason)
  assert.equal(states(events)['RUN one'], 'cancelled')
  assert.deepEqual(ran(bench.world.done), ['RUN one'])
  second.abort(reason)
  await step.aborted
  let isOver = false
  const over = b.finally(() => {
    isOver = true
  })
  over.catch(() => {})
  await setImmediate()
  assert.equal(isOver, false, 'it cleans up')
  step.go()
  await assert.rejects(over, reason)
  assert.equal([...bench.cache.all()].length, 0)
  await assertNothingHeld(bench)
})

test('what a shared step takes of a client stays until it has ended, whoever has gone', async () => {
  const bench = await benchOf({ locals: { context: { '/x': '1' } } })
  const script = new Script()
  const graph = script.graph(script.copy(undefined, script.local(), ['/x', '/y']))
  const step = held(bench, 'COPY /x /y')
  const controller = new AbortController()
  const first = build(bench, graph, { signal: controller.signal })
  await step.reached
  const second = build(bench, graph)
  await setImmediate()
  controller.abort(new Error('enough'))
  await assert.rejects(first, /enough/)
  await setImmediate()
  step.go()
  assert.deepEqual((await second).files, { '/y': '1' })
  assert.deepEqual(ran(bench.world.done), [
    '[internal] load context',
    'COPY /x /y',
    '[internal] load context',
  ])
  await assertNothingHeld(bench)
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

test('who wants what is being aborted gets it anew', async () => {
  const bench = await benchOf({ images })
  const step = held(bench, 'RUN one')
  const controller = new AbortController()
  const a = build(bench, twoSteps(), { signal: controller.signal })
  await step.reached
  controller.abort(new Error('enough'))
  const b = build(bench, twoSteps())
  await setImmediate()
  assert.deepEqual(ran(bench.world.done), ['RUN one'])
  step.go()
  await assert.rejects(a, /enough/)
  assert.deepEqual(Object.keys((await b).files).sort(), ['/bin/sh', '/etc/passwd', '/made/one', '/made/two'])
  assert.deepEqual(bench.world.doubled, [])
})

test('the first failure stops the rest of its build, is told with its vertex, and leaves the steps of others', async () => {
  const bench = await benchOf({ images })
  const step = held(bench, 'RUN slow')
  const slow = (() => {
    const script = new Script()
    return script.graph(script.run(script.image('alpine'), 'slow'))
  })()
  const script = new Script()
  const bad = script.copy(script.image('alpine'), script.image('alpine'), ['/nosuch', '/x'])
  const failing = script.graph(script.merge(bad, script.run(script.image('alpine'), 'slow')))
  const other = build(bench, slow)
  await step.reached
  const events: BuildEvent[] = []
  await assert.rejects(build(bench, failing, { events }), (error: unknown) => {
    assert.ok(error instanceof SolveError)
    assert.equal(error.message, '"/nosuch": not found')
    assert.equal(error.vertex.step.name, 'COPY /nosuch /x')
    return hasCode(error, 'not-found')
  })
  assert.equal(states(events)['COPY /nosuch /x'], 'failed')
  step.go()
  assert.ok('/made/slow' in (await other).files)
  await assertNothingHeld(bench)
})

test('a build that failed has ended when its other steps have cleaned up', async () => {
  const bench = await benchOf({ images })
  const step = held(bench, 'RUN slow')
  const { hook } = bench.world
  bench.world.hook = async (what, vertex, signal) => {
    if (vertex.step.name === 'gone') await step.reached
    await hook(what, vertex, signal)
  }
  const script = new Script()
  const slow = script.run(script.image('alpine'), 'slow')
  const bad = script.copy(script.image('alpine'), script.download('gone'), ['/nosuch', '/x'])
  const events: BuildEvent[] = []
  let isOver = false
  const failing = build(bench, script.graph(script.merge(slow, bad)), { events }).finally(() => {
    isOver = true
  })
  failing.catch(() => {})
  await step.aborted
  await setImmediate()
  assert.equal(isOver, false)
  step.go()
  await assert.rejects(failing, /not found/)
  assert.deepEqual(states(events), {
    'FROM alpine': 'done',
    'RUN slow': 'cancelled',
    gone: 'done',
    'COPY /nosuch /x': 'failed',
    merge: 'waiting',
  })
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

test('two builds make the same anew once; one that began before for somebody else is not joined', async () => {
  const bench = await benchOf({ images })
  const step = held(bench, 'RUN one')
  const ordinary = build(bench, twoSteps())
  await step.reached
  const anew = [build(bench, twoSteps({ ignoreCache: true })), build(bench, twoSteps({ ignoreCache: true }))]
  await setImmediate()
  step.go()
  await ordinary
  const [a, b] = await Promise.all(anew)
  assert.deepEqual(a?.tree, b?.tree)
  assert.equal(ran(bench.world.done).filter(name => name === 'RUN one').length, 2)
  assert.deepEqual(bench.world.doubled, [])
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

test('two solves of one build are told as one', async () => {
  const bench = await benchOf({ images, locals: { context: { '/a': '1' } } })
  const step = held(bench, 'RUN one')
  const context = { id: 'x', signal: new AbortController().signal }
  const events: BuildEvent[] = []
  const solve = async (graph: Graph) => {
    await using _solution = await bench.solver.solve({
      build: context,
      graph,
      tell: event => events.push(event),
    })
  }
  const both = [solve(twoSteps()), solve(twoSteps())]
  await step.reached
  await setImmediate()
  step.go()
  await Promise.all(both)
  await solve(twoSteps())
  const told = events.flatMap(event =>
    event.kind === 'vertex' ? [`${event.vertex.step.name} ${event.state}`] : [],
  )
  assert.deepEqual(
    told.filter(text => text.includes('two')),
    ['RUN two waiting', 'RUN two running', 'RUN two done'],
  )
  assert.deepEqual(told.length, new Set(told).size)
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
