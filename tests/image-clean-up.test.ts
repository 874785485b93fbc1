import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { must, until } from './harness/shell.ts'

/** Unused images go by age and by size, as their plan says; whatever is in use or protected stays. */
let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace)
  for (const tag of ['a', 'b', 'c', 'd'])
    await registry.serve({ repository: 'box', tag, which: tag, bytes: 1 << 20, labels: { tag } })
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const nameOf = (tag: string): string => `${registry.address}/box:${tag}`
const pull = (tag: string): Promise<string> => docker('pull', '-q', nameOf(tag))

interface Entry {
  Id: string
  Names: string[]
  LastUsed: string
  Why: string
  Bytes?: number
}

interface Plan {
  Plan: string
  Remove: Entry[]
  Keep: Entry[]
  Bytes: number
  NotReached: string[]
}

interface Result {
  Removed: Entry[]
  Skipped: Entry[]
  BytesBefore: number
  BytesAfter: number
}

const cleanUp = (query: Record<string, string>): string =>
  `/berth/v1/images/clean-up?${new URLSearchParams(query)}`

const planned = (query: Record<string, string>): Promise<Plan> =>
  daemon.json('POST', cleanUp({ ...query, 'dry-run': '1' }))

const tagsOf = (entries: Entry[]): string[] =>
  entries.map(
    ({ Names }) =>
      Names.find(name => !name.includes('@'))
        ?.split(':')
        .at(-1) ?? '',
  )

const images = async (): Promise<string[]> =>
  (await docker('images', '--format', '{{.Tag}}')).split('\n').filter(Boolean).sort()

const limits = { 'max-size': '1k', keep: 'label=tag=c' }

test('without a limit there is nothing to plan, and a wrong one is refused', async () => {
  const none = await daemon.api('POST', '/berth/v1/images/clean-up?dry-run=1')
  assert.deepEqual([none.status, /no limit is set: give max-size/.test(none.text)], [400, true])
  const wrong = await daemon.api('POST', cleanUp({ 'max-age': 'long' }))
  assert.deepEqual([wrong.status, /want a duration as 720h/.test(wrong.text)], [400, true])
})

test('a plan tells what would go, the least recently used first, and why the others stay', async () => {
  for (const tag of ['a', 'b', 'c', 'd']) await pull(tag)
  await docker('run', '--rm', nameOf('a'), 'true')
  await docker('create', '--name', 'user', nameOf('d'), 'cat', '/which')
  const plan = await planned(limits)
  assert.deepEqual(tagsOf(plan.Remove), ['b', 'a'])
  assert.match(plan.Remove[0]?.Why ?? '', /images take .* MiB, more than max-size 1 KiB/)
  // Its own layer as blob and as tree, and not what all of them have.
  for (const { Bytes = 0 } of plan.Remove) assert.ok(Bytes > 2 << 20 && Bytes < 2.2 * (1 << 20), `${Bytes}`)
  assert.deepEqual(plan.Keep.map(({ Why }) => Why).sort(), [
    'in use by the container user',
    'kept by label=tag=c',
  ])
  assert.equal(plan.NotReached.length, 1)
  assert.deepEqual(await images(), ['a', 'b', 'c', 'd'])
  assert.deepEqual(tagsOf((await planned({ 'max-age': '1000h' })).Remove), [])
})

test('what it showed is what is done, or nothing', async () => {
  const { Plan: seen } = await planned(limits)
  await docker('tag', nameOf('b'), 'other:b2')
  const late = await daemon.api('POST', cleanUp({ ...limits, plan: seen }))
  assert.deepEqual(
    [late.status, /would be another one now .*: look at it again/.test(late.text)],
    [409, true],
  )
  const since = Math.floor(Date.now() / 1000)
  const plan = await planned(limits)
  assert.deepEqual(tagsOf(plan.Remove), ['a', 'b'], 'a new name is a use')
  const result = await daemon.json<Result>('POST', cleanUp({ ...limits, plan: plan.Plan }))
  assert.deepEqual([result.Removed, result.Skipped], [plan.Remove, []])
  assert.equal(result.BytesBefore - result.BytesAfter, plan.Bytes)
  assert.deepEqual(await images(), ['c', 'd'])
  const events = await docker(
    'events',
    '--since',
    `${since}`,
    '--until',
    `${Math.ceil(Date.now() / 1000)}`,
    '--filter',
    'type=image',
    '--format',
    '{{.Action}} {{.Actor.Attributes.name}}',
  )
  for (const event of [`untag ${nameOf('a')}`, 'untag other:b2', `delete ${plan.Remove[0]?.Id}`])
    assert.ok(events.split('\n').includes(event), events)
  assert.match(daemon.log, /an unused image was removed by the clean-up.*more than max-size/)
  assert.equal(await docker('start', '-a', 'user'), 'd')
  assert.equal(readdirSync(path.join(daemon.dataRoot, 'layers')).length, 5)
  await audit(daemon)
})

test('the last use is known after a death of the daemon', async () => {
  assert.deepEqual(tagsOf((await planned(limits)).Remove), [])
  for (const tag of ['a', 'b']) await pull(tag)
  assert.deepEqual(tagsOf((await planned(limits)).Remove), ['a', 'b'])
  await docker('run', '--rm', nameOf('a'), 'true')
  assert.deepEqual(tagsOf((await planned(limits)).Remove), ['b', 'a'])
  await daemon.restart()
  assert.deepEqual(tagsOf((await planned(limits)).Remove), ['b', 'a'])
})

test('by daemon.json it goes on by itself, from a reload on', async () => {
  const file = path.join(daemon.base, 'daemon.json')
  const reload = async (value: object): Promise<void> => {
    writeFileSync(file, JSON.stringify({ 'image-clean-up': value }))
    await must(['kill', '-HUP', String(daemon.pid)])
  }
  await reload({ 'max-size': 'much' })
  await until('it is refused', () => daemon.log.includes('image-clean-up: invalid value'))
  await reload({ 'max-age': '1s', keep: ['label=tag=c'], interval: '10s' })
  await until('it was read', () => daemon.log.includes('configuration reloaded'))
  const { Keep } = await daemon.json<Plan>('POST', cleanUp({ 'dry-run': '1' }))
  assert.ok(Keep.some(({ Why }) => Why === 'kept by label=tag=c'))
  await until('they are gone', async () => (await images()).join() === 'c,d')
  assert.equal(await docker('start', '-a', 'user'), 'd')
  await docker('rm', 'user')
  await audit(daemon)
})
