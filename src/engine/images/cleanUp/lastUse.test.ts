import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Log } from '../../../core/log.ts'
import { digestOf } from '../../../oci/digest.ts'
import type { Database, Put } from '../../../store/database.ts'
import { LastUse } from './lastUse.ts'

/** A database of records by id. */
const startDatabase = () => {
  const records = new Map<string, unknown>()
  const database = {
    load: async () => [...records].map(([id, value]) => ({ id, value })),
    write: async (puts: Put[]) => {
      for (const { id, value } of puts) {
        if (value === undefined) records.delete(id)
        else records.set(id, value)
      }
    },
  } as unknown as Database
  return { records, database }
}

const log = {} as Log
const [one, other] = [digestOf('one'), digestOf('other')]

test('nothing stays of an image that is gone, whether the daemon saw it go or not', async () => {
  const { records, database } = startDatabase()
  const lastUse = await LastUse.open(database, log)
  lastUse.note(one)
  lastUse.note(other)
  assert.deepEqual([...records.keys()], [one, other])
  lastUse.forget(one)
  assert.deepEqual([...records.keys()], [other])
  const later = await LastUse.open(database, log)
  later.keepOnly(new Set())
  assert.deepEqual([...records.keys()], [])
})
