import { once } from 'node:events'
import { abandonable } from '../core/abort.ts'
import { nowNanos } from '../core/clock.ts'
import { eventJson } from '../engine/events/events.ts'
import { eventFilter } from '../engine/events/filter.ts'
import type { EventMessage } from '../engine/events/types.ts'
import { diskUsage } from '../engine/system/diskUsage.ts'
import { systemInfo, systemVersion } from '../engine/system/info.ts'
import { parseTimestamp } from '../wire/timestamps.ts'
import type { Call, Route } from './route.ts'
import { apiVersion, minApiVersion, serverVersion } from './server.ts'
import { tracked } from './track.ts'

const ping = async ({ req, res }: Call): Promise<undefined> => {
  res.writeHead(200, {
    'Builder-Version': '1',
    Swarm: 'inactive',
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': 2,
  })
  res.end(req.method === 'HEAD' ? undefined : 'OK')
}

/** Past events, then those that come, each once and in order. */
const streamEvents = async ({ engine, query, res, signal }: Call): Promise<undefined> => {
  const matches = eventFilter(query.get('filters'))
  const since = query.get('since')
  const until = query.get('until')
  const end = until ? parseTimestamp(until) : undefined
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
  const queue: EventMessage[] = []
  let wake = (): void => {}
  using _subscription = engine.events.subscribe(event => {
    queue.push(event)
    wake()
  })
  const write = async (event: EventMessage): Promise<void> => {
    if (matches(event) && !res.write(`${eventJson(event)}\n`)) await once(res, 'drain', { signal })
  }
  let last = 0n
  if (since !== undefined && since !== '') {
    for await (const event of engine.events.history(parseTimestamp(since), end ?? nowNanos())) {
      last = event.timeNano
      await write(event)
    }
  }
  const timer =
    end === undefined
      ? undefined
      : setTimeout(() => wake(), Math.max(0, Number((end - nowNanos()) / 1_000_000n)) + 1)
  signal.addEventListener('abort', () => wake(), { once: true })
  while (!signal.aborted && (end === undefined || nowNanos() < end)) {
    for (let event = queue.shift(); event; event = queue.shift())
      if (event.timeNano > last) await write(event)
    await new Promise<void>(resolve => {
      wake = resolve
      if (queue.length > 0 || signal.aborted) resolve()
    })
  }
  clearTimeout(timer)
  res.end()
}

/** `/_ping`, `/version`, `/info`, `/events`, `/system`. */
export const systemRoutes = (identity: { id: string }): Route[] => [
  { method: 'GET', path: '/_ping', operation: 'SystemPing', handle: ping },
  { method: 'HEAD', path: '/_ping', operation: 'SystemPingHead', handle: ping },
  {
    method: 'GET',
    path: '/version',
    operation: 'SystemVersion',
    handle: async ({ engine }) => ({
      json: await systemVersion(engine, { serverVersion, apiVersion, minApiVersion }),
    }),
  },
  {
    method: 'GET',
    path: '/info',
    operation: 'SystemInfo',
    handle: async ({ engine }) => ({
      json: await systemInfo(engine, { id: identity.id, serverVersion, debug: engine.settings.debug }),
    }),
  },
  { method: 'GET', path: '/events', operation: 'SystemEvents', handle: streamEvents },
  {
    method: 'GET',
    path: '/system/df',
    operation: 'SystemDataUsage',
    lacks: 'volumes and build cache, of which there are none',
    handle: async call => {
      const { engine, query, version } = call
      const subject = { type: 'data root', id: '', name: '' }
      const what = { verb: 'df', subject, endsWithClient: true }
      const json = await tracked(call, what, ({ signal }) =>
        abandonable(signal, diskUsage(engine, { types: query.all('type'), version })),
      )
      return { json }
    },
  },
]
