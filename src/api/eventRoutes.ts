import { once } from 'node:events'
import { alarmAt } from '../core/alarm.ts'
import { nowNanos } from '../core/clock.ts'
import { badRequest, messageOf } from '../core/errors.ts'
import { eventJson } from '../engine/events/events.ts'
import { eventFilter } from '../engine/events/filter.ts'
import type { EventMessage } from '../engine/events/types.ts'
import { parseTimestamp } from '../wire/timestamps.ts'
import type { ApiVersion } from '../wire/version.ts'
import type { Call, Route } from './route.ts'

/** `GET /events` */

export const timeOf = (name: string, text: string | undefined): bigint | undefined => {
  if (text === undefined || text === '') return undefined
  try {
    return parseTimestamp(text)
  } catch (error) {
    throw badRequest(`invalid value for '${name}': ${messageOf(error)}`, error)
  }
}

/** Docker's forms of a stream of JSON; the client may ask for one. */
const jsonStreams = ['application/jsonl', 'application/x-ndjson', 'application/json-seq']

const contentType = (accept: string | undefined, version: ApiVersion): string => {
  const asked = (accept ?? '').split(',').map(part => part.split(';')[0]?.trim() ?? '')
  const otherwise = version.atLeast('1.52') ? 'application/jsonl' : 'application/json'
  return asked.find(type => jsonStreams.includes(type)) ?? otherwise
}

/** Each event as a client of this version reads it; undefined for one that it does not know. */
const writer = (type: string, version: ApiVersion): ((event: EventMessage) => string | undefined) => {
  const start = type === 'application/json-seq' ? '\x1e' : ''
  const legacy = !version.atLeast('1.52')
  const imageCreate = version.atLeast('1.46')
  return event =>
    event.Type === 'image' && event.Action === 'create' && !imageCreate
      ? undefined
      : `${start}${eventJson(event, { legacy })}\n`
}

/** Past events, then those that come, each once and in order. */
const streamEvents = async ({ engine, req, query, res, signal, version }: Call): Promise<undefined> => {
  const since = timeOf('since', query.get('since'))
  const end = timeOf('until', query.get('until'))
  if (end !== undefined && since !== undefined && end < since)
    throw badRequest(
      `\`since\` time (${query.get('since')}) cannot be after \`until\` time (${query.get('until')})`,
    )
  const matches = eventFilter(query.get('filters'))
  const type = contentType(req.headers.accept, version)
  const text = writer(type, version)
  res.writeHead(200, { 'Content-Type': type })
  res.flushHeaders()
  const queue: EventMessage[] = []
  let wake = (): void => {}
  using _subscription = engine.events.subscribe(event => {
    queue.push(event)
    wake()
  })
  const write = async (event: EventMessage): Promise<void> => {
    const line = matches(event) ? text(event) : undefined
    if (line !== undefined && !res.write(line)) await once(res, 'drain', { signal })
  }
  let last = 0n
  if (since !== undefined) {
    for await (const event of engine.events.history(since, end ?? nowNanos())) {
      last = event.timeNano
      await write(event)
    }
  }
  using _end = end === undefined ? undefined : alarmAt(end, () => wake())
  signal.addEventListener('abort', () => wake(), { once: true })
  while (!signal.aborted && (end === undefined || nowNanos() < end)) {
    for (let event = queue.shift(); event; event = queue.shift())
      if (event.timeNano > last) await write(event)
    await new Promise<void>(resolve => {
      wake = resolve
      if (queue.length > 0 || signal.aborted) resolve()
    })
  }
  res.end()
}

export const eventRoutes: Route[] = [
  { method: 'GET', path: '/events', operation: 'SystemEvents', handle: streamEvents },
]
