import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Builder } from '../build/builder.ts'
import { recordFilter } from '../build/history/filter.ts'
import type { BuildHistory } from '../build/history/history.ts'
import { logText } from '../build/history/logText.ts'
import { type BuildRecord, type OpenRecord, statusOf } from '../build/history/types.ts'
import { formatNanos, parseTime } from '../core/clock.ts'
import { badRequest, notFound, notImplemented } from '../core/errors.ts'
import { requesterJson } from './operationRoutes.ts'
import type { Call, Query, Route } from './route.ts'

/** `/berth/v1/builds`: what was built, and why each step ran. */

type AnyRecord = BuildRecord | OpenRecord

const usualLimit = 50
const highestLimit = 1000

const limitOf = (query: Query): number => {
  const limit = query.int('limit') ?? usualLimit
  if (limit < 1 || limit > highestLimit)
    throw badRequest(`invalid value for limit: ${limit} is not between 1 and ${highestLimit}`)
  return limit
}

const cursorOf = (query: Query): bigint | undefined => {
  const text = query.get('cursor') ?? ''
  const time = text === '' ? undefined : parseTime(text)
  if (text !== '' && time === undefined)
    throw badRequest(`invalid value for cursor: ${JSON.stringify(text)} is no Next of an earlier answer`)
  return time
}

const summary = (record: AnyRecord): object => ({
  Ref: record.ref,
  Status: statusOf(record),
  Names: record.exporters.flatMap(({ attributes }) => (attributes['name'] ?? '').split(',').filter(Boolean)),
  Target: record.attributes['target'] ?? '',
  Started: record.createdAt,
  Completed: 'completedAt' in record ? record.completedAt : null,
  Client: record.requester && requesterJson(record.requester),
  StepCounts: {
    Total: record.counts.total,
    Completed: record.counts.completed,
    Cached: record.counts.cached,
  },
  Warnings: record.counts.warnings,
  Error: ('error' in record && record.error?.message) || '',
  Pinned: record.pinned,
})

const whole = (record: AnyRecord): object => ({
  ...summary(record),
  Frontend: record.frontend,
  Attributes: record.attributes,
  Exporters: record.exporters.map(({ type, attributes }) => ({ Type: type, Attributes: attributes })),
  Result: 'response' in record ? record.response : {},
  Steps: record.steps.map(step => ({
    Name: step.name,
    Digest: step.digest,
    Inputs: step.inputs,
    Started: step.startedAt ?? null,
    Completed: step.completedAt ?? null,
    Cached: step.cached,
    Error: step.error,
    Why: step.why,
  })),
})

const refOf = (history: BuildHistory, { params }: Call): string => {
  const given = params['ref'] ?? ''
  const ref = history.refOf(given)
  if (ref === undefined)
    throw notFound(
      `no record of a build ${given}, or of several that begin so: GET /berth/v1/builds lists all`,
    )
  return ref
}

/** The newest first; those that are under way are on the first page, all of them. */
const list = async (history: BuildHistory, { query }: Call): Promise<{ json: unknown }> => {
  const [limit, cursor] = [limitOf(query), cursorOf(query)]
  const holds = recordFilter(query.all('filter'))
  const going = cursor === undefined ? history.open.map(({ record }) => record).filter(holds) : []
  const found: AnyRecord[] = [...going]
  let next = ''
  for await (const record of history.records(cursor)) {
    if (!holds(record)) continue
    if (found.length >= limit) {
      // Of what did not fit, and not of what did: a build that is under way may have begun before it.
      next = formatNanos((parseTime(record.createdAt) ?? 0n) + 1n)
      break
    }
    found.push(record)
  }
  return { json: { Builds: found.map(summary), Next: next } }
}

/** Of a build that is under way it goes on until that ends. */
const log = async (history: BuildHistory, call: Call): Promise<undefined> => {
  const ref = refOf(history, call)
  call.res.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' })
  call.res.flushHeaders()
  await pipeline(Readable.from(logText(history.told(ref, call.signal))), call.res)
  return undefined
}

type Handle = (history: BuildHistory, call: Call) => Promise<{ status?: number; json?: unknown } | undefined>

export const buildHistoryRoutes = (builder: Builder | undefined): Route[] => {
  const withHistory =
    (handle: Handle): Route['handle'] =>
    async call => {
      if (!builder) throw notImplemented('building an image')
      return await handle(builder.history, call)
    }
  const one = '/berth/v1/builds/{ref}'
  return [
    {
      ...{ method: 'GET', path: '/berth/v1/builds', operation: 'BuildList', own: true },
      handle: withHistory(list),
    },
    {
      ...{ method: 'GET', path: one, operation: 'BuildInspect', own: true },
      handle: withHistory(async (history, call) => {
        const ref = refOf(history, call)
        return { json: whole(history.running(ref)?.record ?? (await history.record(ref))) }
      }),
    },
    {
      ...{ method: 'GET', path: `${one}/log`, operation: 'BuildLog', own: true },
      handle: withHistory(log),
    },
    {
      ...{ method: 'DELETE', path: one, operation: 'BuildForget', own: true },
      handle: withHistory(async (history, call) => {
        await history.remove(refOf(history, call))
        return { status: 204 }
      }),
    },
  ]
}
