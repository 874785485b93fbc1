import { notFound, notImplemented, unavailable } from '../core/errors.ts'
import { Filters } from '../wire/filters.ts'
import type { Method, Route } from './route.ts'

/**
 * Docker's operations that are not built: 501 and what it is, or what Docker
 * itself answers where the part is merely absent.
 */
export interface UnbuiltRoute extends Route {
  state: 'absent' | 'empty' | 'inactive'
}

const absent = (method: Method, path: string, operation: string, what: string): UnbuiltRoute => ({
  method,
  path,
  operation,
  state: 'absent',
  handle: async () => {
    throw notImplemented(what)
  },
})

export const noSwarm =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'

const inactive = (method: Method, path: string, operation: string, why = noSwarm): UnbuiltRoute => ({
  method,
  path,
  operation,
  state: 'inactive',
  handle: async () => {
    throw unavailable(why)
  },
})

const empty = (
  route: Pick<Route, 'method' | 'path' | 'operation'>,
  json: unknown,
  filters: string[] = [],
): UnbuiltRoute => ({
  ...route,
  state: 'empty',
  handle: async ({ query }) => {
    Filters.parse(query.get('filters'), filters)
    return { json }
  },
})

/** Asked of one by name, where there are none. */
const none = (
  method: Method,
  path: string,
  operation: string,
  words: (name: string) => string,
): UnbuiltRoute => ({
  method,
  path,
  operation,
  state: 'empty',
  handle: async ({ params }) => {
    throw notFound(words(params['name'] ?? ''))
  },
})

const crud = (noun: string, Name: string): UnbuiltRoute[] => [
  inactive('GET', `/${noun}`, `${Name}List`),
  inactive('POST', `/${noun}/create`, `${Name}Create`),
  inactive('GET', `/${noun}/{id}`, `${Name}Inspect`),
  inactive('DELETE', `/${noun}/{id}`, `${Name}Delete`),
  inactive('POST', `/${noun}/{id}/update`, `${Name}Update`),
]

const managedPlugin =
  'a managed plugin (instead run it as a process or a container that listens on a socket in /run/docker/plugins)'

export const unbuiltRoutes: UnbuiltRoute[] = [
  inactive(
    'PUT',
    '/volumes/{name}',
    'VolumeUpdate',
    'volume update only valid for cluster volumes, but swarm is unavailable',
  ),
  empty({ method: 'GET', path: '/plugins', operation: 'PluginList' }, [], ['capability', 'enabled']),
  absent('GET', '/plugins/privileges', 'GetPluginPrivileges', managedPlugin),
  absent('POST', '/plugins/pull', 'PluginPull', managedPlugin),
  none('GET', '/plugins/{name}/json', 'PluginInspect', name => `plugin "${name}" not found`),
  none('DELETE', '/plugins/{name}', 'PluginDelete', name => `plugin "${name}" not found`),
  none('POST', '/plugins/{name}/enable', 'PluginEnable', name => `plugin "${name}" not found`),
  none('POST', '/plugins/{name}/disable', 'PluginDisable', name => `plugin "${name}" not found`),
  absent('POST', '/plugins/{name}/upgrade', 'PluginUpgrade', managedPlugin),
  absent('POST', '/plugins/create', 'PluginCreate', managedPlugin),
  none('POST', '/plugins/{name}/push', 'PluginPush', name => `plugin "${name}" not found`),
  none('POST', '/plugins/{name}/set', 'PluginSet', name => `plugin "${name}" not found`),
  inactive('GET', '/nodes', 'NodeList'),
  inactive('GET', '/nodes/{id}', 'NodeInspect'),
  inactive('DELETE', '/nodes/{id}', 'NodeDelete'),
  inactive('POST', '/nodes/{id}/update', 'NodeUpdate'),
  inactive('GET', '/swarm', 'SwarmInspect'),
  absent('POST', '/swarm/init', 'SwarmInit', 'cluster mode'),
  absent('POST', '/swarm/join', 'SwarmJoin', 'cluster mode'),
  inactive('POST', '/swarm/leave', 'SwarmLeave', 'This node is not part of a swarm'),
  inactive('POST', '/swarm/update', 'SwarmUpdate'),
  inactive('GET', '/swarm/unlockkey', 'SwarmUnlockkey'),
  inactive('POST', '/swarm/unlock', 'SwarmUnlock'),
  ...crud('services', 'Service'),
  inactive('GET', '/services/{id}/logs', 'ServiceLogs'),
  inactive('GET', '/tasks', 'TaskList'),
  inactive('GET', '/tasks/{id}', 'TaskInspect'),
  inactive('GET', '/tasks/{id}/logs', 'TaskLogs'),
  ...crud('secrets', 'Secret'),
  ...crud('configs', 'Config'),
]
