import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, test } from 'node:test'
import { Database, type EventQuery } from './database.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'berth-db-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('documents are kept over a reopen, replaced and removed', async () => {
  const file = path.join(folder, 'm.db')
  const first = await Database.open(file)
  await first.write(
    [
      { kind: 'a', id: '1', value: { n: 1 } },
      { kind: 'a', id: '2', value: 2 },
    ],
    { durable: true },
  )
  await first.write(
    [
      { kind: 'a', id: '1', value: { n: 3 } },
      { kind: 'a', id: '2', value: undefined },
    ],
    { durable: false },
  )
  await first.close()
  const second = await Database.open(file)
  assert.deepEqual(await second.load('a'), [{ id: '1', value: { n: 3 } }])
  await second.close()
})

test('many writers at once all settle, in order', async () => {
  const database = await Database.open(path.join(folder, 'm.db'))
  const writes = Array.from({ length: 300 }, (_, n) =>
    database.write([{ kind: 'k', id: 'same', value: n }], { durable: n % 7 === 0 }),
  )
  await Promise.all(writes)
  assert.deepEqual(await database.load('k'), [{ id: 'same', value: 299 }])
  await database.close()
})

test('events are read by time and by page', async () => {
  const database = await Database.open(path.join(folder, 'm.db'))
  for (let n = 1; n <= 5; n++) await database.appendEvent(BigInt(n) * 10n, `{"n":${n}}`)
  const page = await database.events({ since: 20n, until: 50n, after: 0, limit: 2 })
  assert.deepEqual(
    page.map(event => event.json),
    ['{"n":2}', '{"n":3}'],
  )
  const rest = await database.events({ since: 20n, until: 50n, after: page[1]?.sequence ?? 0, limit: 9 })
  assert.deepEqual(
    rest.map(event => event.time),
    [40n, 50n],
  )
  await database.trimEvents(1)
  assert.equal((await database.events({ since: 0n, until: 99n, after: 0, limit: 9 })).length, 1)
  const ever = { since: -(10n ** 30n), until: 10n ** 30n }
  assert.equal((await database.events({ ...ever, after: 0, limit: 9 })).length, 1)
  assert.equal((await database.findEvents({ ...ever, newestFirst: true, limit: 9 })).events.length, 1)
  await database.close()
})

test('what was told durable is there after the process was killed', async () => {
  const file = path.join(folder, 'm.db')
  const program = `
    import { Database } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)}
    const d = await Database.open(${JSON.stringify(file)})
    await d.write([{ kind: 'k', id: 'x', value: 1 }], { durable: true })
    process.kill(process.pid, 'SIGKILL')`
  const script = path.join(folder, 'writer.mjs')
  writeFileSync(script, program)
  const run = spawnSync(process.execPath, [script])
  assert.equal(run.signal, 'SIGKILL')
  const database = await Database.open(file)
  assert.deepEqual(await database.load('k'), [{ id: 'x', value: 1 }])
  await database.close()
})

test('what is wrong with the file is told in words', async () => {
  const file = path.join(folder, 'm.db')
  const sound = await Database.open(file)
  await sound.appendEvent(1n, '{}')
  assert.deepEqual(await sound.check(false), [])
  await sound.close()
  const damaging = new DatabaseSync(file)
  damaging.enableDefensive(false)
  damaging.exec(
    "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='CREATE INDEX events_time ON events (json)' WHERE name='events_time'",
  )
  damaging.close()
  const damaged = await Database.open(file)
  assert.match((await damaged.check(false)).join(), /row 1 missing from index events_time/)
  assert.deepEqual(await damaged.check(true), [], 'the quick one leaves indexes out')
  await damaged.close()
})

test('events are found by what they say, in pages, in both orders, beyond what one turn looks at', async () => {
  const database = await Database.open(path.join(folder, 'm.db'))
  const event = (n: number): string =>
    JSON.stringify({
      Type: n % 2 ? 'container' : 'image',
      Action: n % 3 ? 'die' : 'exec_create: true',
      Actor: { ID: `id${n}`, Attributes: { name: `n%${n}`, 'berth.cause': n % 1000 ? 'exit' : 'oom' } },
    })
  const count = 5000
  await Promise.all(Array.from({ length: count }, (_, n) => database.appendEvent(BigInt(n), event(n))))
  const span = { since: 0n, until: BigInt(count), newestFirst: false, limit: 2 }
  const times = async (query: Partial<EventQuery>): Promise<{ times: number[]; after?: number }> => {
    const { events, ...rest } = await database.findEvents({ ...span, ...query })
    return { times: events.map(({ time }) => Number(time)), ...rest }
  }
  assert.deepEqual((await times({ cause: 'oom', limit: 9 })).times, [0, 1000, 2000, 3000, 4000])
  assert.deepEqual(await times({ cause: 'oom' }), { times: [0, 1000], after: 1001 })
  assert.deepEqual(await times({ cause: 'oom', after: 1001 }), { times: [2000, 3000], after: 3001 })
  assert.deepEqual(await times({ cause: 'oom', after: 3001 }), { times: [4000] })
  assert.deepEqual(await times({ cause: 'oom', newestFirst: true }), { times: [4000, 3000], after: 3001 })
  assert.deepEqual((await times({ type: 'image', action: 'exec_create', since: 4990n })).times, [4992, 4998])
  assert.deepEqual((await times({ action: 'exec' })).times, [])
  assert.deepEqual((await times({ object: 'id4999' })).times, [4999])
  // No character of a name stands for others.
  assert.deepEqual((await times({ object: 'n%499', limit: 20 })).times.length, 11)
  assert.deepEqual((await times({ object: '%' })).times, [])
  assert.deepEqual((await times({ since: 7n, until: 7n })).times, [7])
  assert.deepEqual((await times({ since: 6000n })).times, [])
  await database.close()
})
