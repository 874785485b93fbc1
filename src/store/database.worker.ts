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

const events = (request: Extract<Request, { op: 'events' }>): unknown => {
  const statement = prepare(
    'SELECT sequence, time, json FROM events WHERE sequence > ? AND time >= ? AND time <= ? ORDER BY sequence LIMIT ?',
  )
  statement.setReadBigInts(true)
  const rows = statement.all(request.after, request.since, request.until, request.limit)
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
