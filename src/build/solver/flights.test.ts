import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { type Flight, Flights, type Waiter } from './flights.ts'
import type { Told } from './telling.ts'

const never = new AbortController().signal

interface Heard extends Waiter {
  heard: string[]
  inputs: string[]
}

const textOf = (told: Told): string =>
  told.kind === 'output'
    ? Buffer.from(told.bytes).toString()
    : told.kind === 'vertex'
      ? told.state
      : told.kind

const waiterOf = (id: string, signal = never): Heard => {
  const [heard, inputs]: [string[], string[]] = [[], []]
  return {
    build: { id, signal },
    signal,
    heard,
    inputs,
    hear: told => heard.push(textOf(told)),
    hearInput: (input, told) => inputs.push(`${input} ${textOf(told)}`),
  }
}

/** A flight that goes on when the test says so. */
const flightOf = () => {
  const flights = new Flights<string>()
  const go = Promise.withResolvers<void>()
  const begun: Flight[] = []
  const join = (waiter: Waiter, anew = false): Promise<string> =>
    flights.join({
      key: 'key',
      waiter,
      anew,
      begin: async flight => {
        begun.push(flight)
        await go.promise
        return 'done'
      },
    })
  return { flights, go: () => go.resolve(), begun, join }
}

test('who comes late hears what was told before', async () => {
  const { join, begun, go, flights } = flightOf()
  const [first, late] = [waiterOf('a'), waiterOf('b')]
  const a = join(first)
  await setImmediate()
  const report = begun[0]?.report
  report?.started()
  report?.output('stdout', Buffer.from('one'))
  report?.status({ id: 'p', name: 'p', current: 1, total: 2, startedAt: 1n })
  const b = join(late)
  report?.output('stderr', Buffer.from('two'))
  report?.warning('careful')
  assert.deepEqual(
    begun[0]?.builds().map(({ id }) => id),
    ['a', 'b'],
  )
  go()
  assert.deepEqual(await Promise.all([a, b]), ['done', 'done'])
  assert.deepEqual(first.heard, ['running', 'one', 'status', 'two', 'warning'])
  assert.deepEqual(late.heard, ['running', 'status', 'one', 'two', 'warning'])
  assert.deepEqual([begun.length, flights.size], [1, 0])
})

test('what inputs do is told to all who wait', async () => {
  const { join, begun, go } = flightOf()
  const [a, b] = [waiterOf('a'), waiterOf('b')]
  const both = [join(a), join(b)]
  await setImmediate()
  begun[0]?.inputReport(1).output('stdout', Buffer.from('pulling'))
  go()
  await Promise.all(both)
  assert.deepEqual([a.inputs, b.inputs], [['1 pulling'], ['1 pulling']])
})

test('who has gone hears no more, and is asked for nothing', async () => {
  const { join, begun, go } = flightOf()
  const controller = new AbortController()
  const [gone, there] = [waiterOf('a', controller.signal), waiterOf('b')]
  const [a, b] = [join(gone), join(there)]
  await setImmediate()
  controller.abort(new Error('enough'))
  await assert.rejects(a, /enough/)
  begun[0]?.report.started()
  assert.deepEqual([gone.heard, there.heard], [[], ['running']])
  assert.deepEqual(
    begun[0]?.builds().map(({ id }) => id),
    ['b'],
  )
  assert.equal(begun[0]?.signal.aborted, false)
  go()
  assert.equal(await b, 'done')
})

test('the failure of the work is that of all who wait', async () => {
  const flights = new Flights<string>()
  const join = (id: string) =>
    flights.join({
      key: 'key',
      waiter: waiterOf(id),
      anew: false,
      begin: async () => {
        throw new Error('broken')
      },
    })
  const both = [join('a'), join('b')]
  for (const one of both) await assert.rejects(one, /broken/)
  assert.equal(flights.size, 0)
})

test('who wants it anew waits for what was begun before, and then begins it', async () => {
  const { join, begun, go } = flightOf()
  const ordinary = join(waiterOf('a'))
  await setImmediate()
  const anew = join(waiterOf('b'), true)
  await setImmediate()
  assert.equal(begun.length, 1)
  go()
  await Promise.all([ordinary, anew])
  assert.equal(begun.length, 2)
})

test('output is limited, and its end comes before the step’s', async () => {
  const { join, begun, go } = flightOf()
  const waiter = waiterOf('a')
  const joined = join(waiter)
  await setImmediate()
  const report = begun[0]?.report
  report?.started()
  report?.output('stdout', Buffer.from(`${'x'.repeat(200 << 10)}end`))
  report?.ended('done')
  go()
  await joined
  const [, clipped, tail, state] = waiter.heard
  assert.match(clipped ?? '', /x\n\[output clipped, log limit 200KiB\/s reached\]\n$/)
  assert.ok(tail?.endsWith('xend'))
  assert.equal(state, 'done')
})
