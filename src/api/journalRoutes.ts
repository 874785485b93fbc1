import { badRequest } from '../core/errors.ts'
import { timeOf } from './eventRoutes.ts'
import type { Call, Query, Route } from './route.ts'

/** `/berth/v1/events`: the journal, by time, object and cause, a page at a time. */

const usualLimit = 100
const highestLimit = 1000
/** Beyond every time that SQLite can hold. */
const theEnd = 2n ** 63n - 1n

const limitOf = (query: Query): number => {
  const limit = query.int('limit') ?? usualLimit
  if (limit < 1 || limit > highestLimit)
    throw badRequest(`invalid value for limit: ${limit} is not between 1 and ${highestLimit}`)
  return limit
}

const isNewestFirst = (query: Query): boolean => {
  const order = query.get('order') ?? 'newest'
  if (order !== 'newest' && order !== 'oldest')
    throw badRequest(`invalid value for order: ${JSON.stringify(order)} is neither newest nor oldest`)
  return order === 'newest'
}

const cursorOf = (query: Query): { after?: number } => {
  const cursor = query.get('cursor') ?? ''
  if (cursor === '') return {}
  if (!/^\d{1,15}$/.test(cursor))
    throw badRequest(`invalid value for cursor: ${JSON.stringify(cursor)} is no Next of an earlier answer`)
  return { after: Number(cursor) }
}

const wanted = (query: Query): Record<string, string> =>
  Object.fromEntries(
    ['type', 'action', 'object', 'cause'].flatMap(key => {
      const value = query.get(key)
      return value ? [[key, value]] : []
    }),
  )

/** The events are stored as JSON and go out as they are. */
const find = async ({ engine, query, res, signal }: Call): Promise<undefined> => {
  const since = timeOf('since', query.get('since')) ?? 0n
  const until = timeOf('until', query.get('until')) ?? theEnd
  if (until < since) throw badRequest('`since` time cannot be after `until` time')
  const page = { newestFirst: isNewestFirst(query), limit: limitOf(query), ...cursorOf(query) }
  const { events, next } = await engine.events.find({ since, until, ...page, ...wanted(query) }, signal)
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end(`{"Events":[${events.join(',')}],"Next":${next === undefined ? '""' : `"${next}"`}}\n`)
}

export const journalRoutes: Route[] = [
  { method: 'GET', path: '/berth/v1/events', operation: 'JournalFind', own: true, handle: find },
]
