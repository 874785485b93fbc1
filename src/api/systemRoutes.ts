import { abandonable } from '../core/abort.ts'
import { diskUsage } from '../engine/system/diskUsage.ts'
import { systemInfo, systemVersion } from '../engine/system/info.ts'
import type { Call, Route } from './route.ts'
import { apiVersion, minApiVersion, serverVersion } from './server.ts'
import { tracked } from './track.ts'

const ping = async ({ req, res, engine }: Call): Promise<undefined> => {
  res.writeHead(200, {
    'Builder-Version': engine.settings.buildkit ? '2' : '1',
    Swarm: 'inactive',
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': req.method === 'HEAD' ? 0 : 2,
  })
  res.end(req.method === 'HEAD' ? undefined : 'OK')
}

/** `/_ping`, `/version`, `/info`, `/system`. */
export const systemRoutes = (identity: { id: string }): Route[] => [
  { method: 'GET', path: '/_ping', operation: 'SystemPing', handle: ping },
  { method: 'HEAD', path: '/_ping', operation: 'SystemPingHead', handle: ping },
  {
    method: 'GET',
    path: '/version',
    operation: 'SystemVersion',
    handle: async ({ engine }) => ({
      json: await engine.metrics.timeHostInfo(
        'system_version',
        systemVersion(engine, { serverVersion, apiVersion, minApiVersion }),
      ),
    }),
  },
  {
    method: 'GET',
    path: '/info',
    operation: 'SystemInfo',
    handle: async ({ engine, version }) => ({
      json: await engine.metrics.timeHostInfo(
        'system_info',
        systemInfo(engine, { id: identity.id, serverVersion, version }),
      ),
    }),
  },
  {
    method: 'GET',
    path: '/system/df',
    operation: 'SystemDataUsage',
    handle: async call => {
      const { engine, query, version } = call
      const subject = { type: 'data root', id: '', name: '' }
      const what = { verb: 'df', subject, endsWithClient: true }
      const json = await tracked(call, what, ({ signal }) =>
        abandonable(
          signal,
          diskUsage(engine, { types: query.all('type'), verbose: query.flag('verbose'), version }),
        ),
      )
      return { json }
    },
  },
]
