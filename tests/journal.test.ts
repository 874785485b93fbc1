import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { lastEnd } from './harness/why.ts'

/** The journal is asked by time, object and cause, a page at a time, whatever became of the daemon. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

interface Event {
  Type: string
  Action: string
  Actor: { ID: string; Attributes: Record<string, string> }
  timeNano: number
}
interface Page {
  Events: Event[]
  Next: string
}

const find = (query: Record<string, string>): Promise<Page> =>
  daemon.json('GET', `/berth/v1/events?${new URLSearchParams(query)}`)

const all = async (query: Record<string, string>): Promise<Event[]> => {
  const found: Event[] = []
  for (let cursor = ''; ; ) {
    const { Events, Next } = await find({ ...query, cursor })
    found.push(...Events)
    if (Next === '') return found
    cursor = Next
  }
}

const actions = (events: Event[]): string[] => events.map(({ Action }) => Action)

test('by object, cause, type and action, also from before a crash', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'web', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(['run', '--name', 'job', 'busybox', 'true'])
  await lastEnd(daemon, 'job')
  await daemon.restart()
  await daemon.mustDocker(['stop', '-t', '0', 'web'])
  assert.deepEqual(actions(await all({ object: 'web', type: 'container', order: 'oldest' })), [
    ...['create', 'start', 'kill', 'kill', 'die', 'stop'],
  ])
  const [stopped] = await all({ object: 'web', cause: 'killed-by-call', action: 'die' })
  assert.match(stopped?.Actor.Attributes['berth.cause.by'] ?? '', /^uid 0, pid \d+ \(.+\), Docker-Client\//)
  assert.equal(stopped?.Actor.Attributes['exitCode'], '137')
  const job = await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'job'])
  const byId = await all({ object: job.slice(0, 12), type: 'container' })
  assert.deepEqual(actions(byId), ['die', 'start', 'attach', 'create'])
  assert.deepEqual(
    (await all({ cause: 'exit' })).map(({ Actor }) => Actor.Attributes['name']),
    ['job'],
  )
})

test('an action is found with what follows its colon', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'host', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(['exec', 'host', 'echo', 'x'])
  assert.deepEqual(actions(await all({ object: 'host', action: 'exec_create' })), ['exec_create: echo x'])
})

test('pages hold together what one answer cannot, in both orders, and time bounds them', async () => {
  const whole = await all({ limit: '1000', order: 'oldest' })
  const paged = await all({ limit: '3', order: 'oldest' })
  assert.deepEqual(paged, whole)
  assert.deepEqual(await all({ limit: '3' }), whole.toReversed())
  // Doubles lose the last digits of nanoseconds: bounds are told in microseconds apart.
  const { text } = await daemon.api('GET', '/berth/v1/events?limit=1000&order=oldest')
  const times = [...text.matchAll(/"timeNano":(\d+)/g)].map(match => BigInt(match[1] ?? 0))
  const seconds = (nanos: bigint): string =>
    `${nanos / 1_000_000_000n}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}`
  const [second = 0n, fourth = 0n] = [times[1], times[3]]
  const between = await all({ since: seconds(second), until: seconds(fourth), order: 'oldest' })
  assert.deepEqual(between, whole.slice(1, 4))
})

test('what cannot be asked is told', async () => {
  for (const query of ['limit=0', 'limit=1001', 'order=up', 'cursor=x', 'since=yesterday', 'since=2&until=1'])
    assert.equal((await daemon.api('GET', `/berth/v1/events?${query}`)).status, 400, query)
})
