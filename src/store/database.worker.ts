import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { messageOf } from '../core/errors.ts'
import type { Message, Reply, Request } from './database.ts'
import { reserveFor } from './reserve.ts'

/** The database's side of database.ts: takes all waiting requests at once and commits them together. */

const schemaVersion = 1
const maxBatch = 512
const { file } = workerData as { file: string }
const port = parentPort as MessagePort

/** Bytes kept for the database alone, so that a full disk keeps nobody from recording what frees space. */
const reserved = { log: 4 << 20, file: 1 << 20 }

const open = (): DatabaseSync => {
  reserveFor(file, reserved.file)
  reserveFor(`${file}-wal`, reserved.log)
  const database = new DatabaseSync(file)
  // One process has a data root: without an index that others share, none needs space.
  database.exec(
    'PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;',
  )
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > schemaVersion)
    throw new Error(
      `${file} was written by a later version (schema ${version}, this one knows ${schemaVersion})`,
    )
  database.exec(`
    CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, json TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, json TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS events_time ON events (time);
  `)
  // Nothing is written where nothing changes.
  if (version !== schemaVersion) database.exec(`PRAGMA user_version=${schemaVersion}`)
  return database
}

const database = open()
const statements = new Map<string, StatementSync>()
const prepare = (sql: string): StatementSync => {
  const known = statements.get(sql)
  if (known) return known
  const statement = database.prepare(sql)
  statements.set(sql, statement)
  return statement
}

const write = (request: Extract<Request, { op: 'write' }>): void => {
  for (const put of request.puts) {
    if (put.json === null) prepare('DELETE FROM documents WHERE kind = ? AND id = ?').run(put.kind, put.id)
    else prepare('INSERT OR REPLACE INTO documents VALUES (?, ?, ?)').run(put.kind, put.id, put.json)
  }
}

/** Before the first event of a time or later. The clock may have been set back meanwhile: rows are in order of sequence alone. */
const before = (since: bigint): number => {
  const row = prepare('SELECT min(sequence) AS first FROM events INDEXED BY events_time WHERE time >= ?').get(
    since,
  )
  return Number(row?.['first'] ?? 0) - 1
}

const events = (request: Extract<Request, { op: 'events' }>): unknown => {
  const statement = prepare(
    'SELECT sequence, time, json FROM events WHERE sequence > ? AND time >= ? AND time <= ? ORDER BY sequence LIMIT ?',
  )
  statement.setReadBigInts(true)
  // Without it all that is kept would be read for the last of it.
  const after = Math.max(request.after, request.after === 0 ? before(request.since) : 0)
  const rows = statement.all(after, request.since, request.until, request.limit)
  return rows.map(row => ({ ...row, sequence: Number(row['sequence']) }))
}

/** What a query may ask for, as SQL. Names and ids are matched as `GET /events` does. */
const conditions: [key: 'type' | 'action' | 'object' | 'cause', sql: string][] = [
  ['type', "json ->> '$.Type' = ?1"],
  ['action', "(json ->> '$.Action' = ?1 OR substr(json ->> '$.Action', 1, length(?1) + 1) = ?1 || ':')"],
  [
    'object',
    "(substr(json ->> '$.Actor.ID', 1, length(?1)) = ?1 OR substr(coalesce(json ->> '$.Actor.Attributes.name', ''), 1, length(?1)) = ?1)",
  ],
  ['cause', `json ->> '$.Actor.Attributes."berth.cause"' = ?1`],
]

const findEvents = (request: Extract<Request, { op: 'find-events' }>): unknown => {
  const wanted = conditions.flatMap(([key, sql]) => {
    const value = request[key]
    return value === undefined ? [] : [{ sql, value }]
  })
  const where = [
    'sequence >= ?1 AND sequence <= ?2 AND time >= ?3 AND time <= ?4',
    ...wanted.map(({ sql }, index) => sql.replaceAll('?1', `?${index + 6}`)),
  ].join(' AND ')
  const order = request.newestFirst ? 'DESC' : 'ASC'
  const statement = prepare(
    `SELECT sequence, time, json FROM events WHERE ${where} ORDER BY sequence ${order} LIMIT ?5`,
  )
  statement.setReadBigInts(true)
  const { first, last, since, until, limit } = request
  const rows = statement.all(first, last, since, until, limit, ...wanted.map(({ value }) => value))
  return rows.map(row => ({ ...row, sequence: Number(row['sequence']) }))
}

const execute = (request: Request): unknown => {
  switch (request.op) {
    case 'write':
      return write(request)
    case 'load':
      return prepare('SELECT id, json FROM documents WHERE kind = ?').all(request.kind)
    case 'event':
      return void prepare('INSERT INTO events (time, json) VALUES (?, ?)').run(request.time, request.json)
    case 'events':
      return events(request)
    case 'event-span':
      return prepare(
        'SELECT min(sequence) AS first, max(sequence) AS last FROM events WHERE time >= ? AND time <= ?',
      ).get(request.since, request.until)
    case 'find-events':
      return findEvents(request)
    case 'trim-events':
      return void prepare('DELETE FROM events WHERE sequence <= (SELECT max(sequence) FROM events) - ?').run(
        request.keep,
      )
    case 'check':
      return prepare(request.quick ? 'PRAGMA quick_check' : 'PRAGMA integrity_check').all()
    case 'close':
      return undefined
  }
}

const attempt = (message: Message): Reply => {
  database.exec('SAVEPOINT request')
  try {
    const value = execute(message)
    database.exec('RELEASE request')
    return { id: message.id, ok: true, value }
  } catch (error) {
    database.exec('ROLLBACK TO request; RELEASE request')
    return { id: message.id, ok: false, message: messageOf(error), code: 'sqlite' }
  }
}

const commit = (batch: Message[]): Reply[] => {
  const durable = batch.some(message => message.op === 'write' && message.durable)
  database.exec(durable ? 'PRAGMA synchronous=FULL' : 'PRAGMA synchronous=NORMAL')
  try {
    database.exec('BEGIN IMMEDIATE')
    const replies = batch.map(attempt)
    database.exec('COMMIT')
    return replies
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    return batch.map(({ id }) => ({ id, ok: false, message: messageOf(error), code: 'sqlite' }))
  }
}

port.on('message', (first: Message[]) => {
  const batch = [...first]
  while (batch.length < maxBatch) {
    const next = receiveMessageOnPort(port)
    if (!next) break
    batch.push(...(next.message as Message[]))
  }
  const replies = commit(batch)
  if (batch.some(message => message.op === 'close')) database.close()
  port.postMessage(replies)
})
