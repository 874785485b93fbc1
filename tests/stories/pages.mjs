// A guest book: entries in PostgreSQL, a count of visits in Redis; found by the names of their containers.
import { createServer } from 'node:http'
import { createClient } from '@redis/client'
import pg from 'pg'

const database = new pg.Pool({
  host: process.env.DATABASE_HOST ?? 'db',
  user: 'postgres',
  max: 4,
  connectionTimeoutMillis: 20_000,
})
database.on('error', error => console.error('database:', error.message))
const counter = createClient({ url: `redis://${process.env.COUNTER_HOST ?? 'counter'}:6379` })
counter.on('error', error => console.error('counter:', error.message))

const bodyOf = async request => {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

const answers = {
  'GET /health': async () => (await database.query('select 1'), 'well'),
  'POST /entries': async request => {
    await database.query('insert into entries (text) values ($1)', [await bodyOf(request)])
    return 'written'
  },
  'GET /entries': async () => (await database.query('select text from entries order by id')).rows.map(row => row.text).join('\n'),
  'GET /': async () => `visit ${await counter.incr('visits')} to ${process.env.HOSTNAME}`,
}

const server = createServer(async (request, response) => {
  try {
    const answer = answers[`${request.method} ${request.url}`]
    if (answer) response.end(`${await answer(request)}\n`)
    else response.writeHead(404).end()
  } catch (error) {
    console.error(request.method, request.url, error.message)
    response.writeHead(500).end(`${error.message}\n`)
  }
})

await counter.connect()
await database.query('create table if not exists entries (id serial primary key, text text)')
process.on('SIGTERM', () => process.exit(0))
server.listen(3000, () => console.log('ready'))
