import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { hasCode } from '../../core/errors.ts'
import type { Graph } from '../graph/types.ts'
import { SolveError } from './errors.ts'
import { assertNothingHeld, benchOf, build, held, ran, states } from './testing/builds.ts'
import { Script, vertexOf } from './testing/graphs.ts'
import type { BuildEvent } from './types.ts'

const images = { alpine: { '/bin/sh': 'sh', '/etc/passwd': 'root' } }

const twoSteps = (step: { ignoreCache?: boolean } = {}) => {
  const script = new Script()
  return script.graph(script.run(script.run(script.image('alpine'), 'one', { step }), 'two'))
}

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

/** A build that goes on from what another one lends, as the client gives it: without the graph that made it. */
const goOn = () => {
  const script = new Script()
  const lent = script.builder.add(vertexOf({ operation: { kind: 'result', id: 'lent' } }))
  return script.graph(script.run(lent, 'three'))
}

const threeSteps = () => {
  const script = new Script()
  return script.graph(script.run(script.run(script.run(script.image('alpine'), 'one'), 'two'), 'three'))
}

test('a build goes on where another one is, and what it makes is found as if one had made all', async () => {
  const bench = await benchOf({ images })
  const first = { id: 'lender', signal: new AbortController().signal }
  const lender = await bench.solver.solve({ build: first, graph: twoSteps(), tell: () => {} })
  const [[mark], [tree]] = [lender.marks, lender.trees]
  assert.ok(mark?.chain && mark.record && tree)
  bench.world.lent.set('lent', { key: mark.chain, record: mark.record, tree, atHand: true })
  const second = { id: 'borrower', signal: new AbortController().signal }
  const events: BuildEvent[] = []
  const tell = (event: BuildEvent): void => void events.push(event)
  const borrower = await bench.solver.solve({ build: second, graph: goOn(), tell })
  await lender[Symbol.asyncDispose]()
  assert.equal(states(events)['result'], 'cached')
  const [record] = [...bench.cache.all()].filter(({ id }) => id === borrower.marks[0]?.record)
  assert.deepEqual(record?.parents, [mark.record])
  await borrower[Symbol.asyncDispose]()
  const whole = await build(bench, threeSteps())
  assert.deepEqual(ran(whole.done), [])
  assert.deepEqual(Object.keys(whole.files).sort().slice(2), ['/made/one', '/made/three', '/made/two'])
  await assertNothingHeld(bench)
})

test('of an image that is lent, its layers', async () => {
  const bench = await benchOf({ images })
  const script = new Script()
  const context = { id: 'lender', signal: new AbortController().signal }
  await using lender = await bench.solver.solve({
    ...{ build: context, graph: script.graph(script.image('alpine')), tell: () => {} },
  })
  const [[mark], [tree]] = [lender.marks, lender.trees]
  assert.ok(mark?.chain && tree)
  assert.equal(mark.record, undefined)
  bench.world.lent.set('lent', { key: mark.chain, tree, atHand: true })
  const { files } = await build(bench, goOn())
  assert.deepEqual(Object.keys(files).sort(), ['/bin/sh', '/etc/passwd', '/made/three'])
})
