import { once } from 'node:events'
import { stringify } from '../core/json.ts'
import { containerStats } from '../engine/containers/stats/stats.ts'
import { containerTop } from '../engine/containers/top.ts'
import type { Call, Route } from './route.ts'

/** What a container's processes are and what they use. */

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

const stats = async (call: Call): Promise<undefined> => {
  const { engine, query, res, signal, version } = call
  const target = container(call)
  const stream = query.flag('stream', true)
  const oneShot = version.atLeast('1.41') && query.flag('one-shot')
  res.writeHead(200, { 'Content-Type': 'application/json' })
  if (stream) res.flushHeaders()
  for await (const sample of containerStats(engine, target, { stream, oneShot, signal })) {
    if (!res.write(`${stringify(sample)}\n`)) await once(res, 'drain', { signal })
  }
  res.end()
  return undefined
}

export const processRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/{id}/top',
    operation: 'ContainerTop',
    handle: async call => ({
      json: await containerTop(call.engine, container(call), call.query.get('ps_args') ?? ''),
    }),
  },
  { method: 'GET', path: '/containers/{id}/stats', operation: 'ContainerStats', handle: stats },
]
