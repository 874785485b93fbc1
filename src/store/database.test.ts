import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, test } from 'node:test'
import { Database } from './database.ts'

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
