import { isAddress } from '../build/frontend/remoteContext.ts'
import { badRequest, notImplemented } from '../core/errors.ts'
import { parseExtraHost } from '../engine/containers/extraHosts.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { Query } from './route.ts'

/** What `POST /build` is asked for, by its parameters. */

/** JSON in a parameter. Errors: `bad-request`. */
const json = (query: Query, name: string): unknown => {
  const text = query.get(name)
  if (!text) return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badRequest(`error reading ${name}: it is not valid JSON`, error)
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Texts by name; null is a name that the client's environment does not have. */
const texts = (query: Query, name: string, prefix: string): [string, string][] => {
  const value = json(query, name) ?? {}
  if (!isObject(value)) throw badRequest(`error reading ${name}: want an object of texts`)
  return Object.entries(value).flatMap(([key, text]): [string, string][] => {
    if (text === null) return []
    if (typeof text !== 'string') throw badRequest(`error reading ${name}: ${key} is no text`)
    return [[`${prefix}${key}`, text]]
  })
}

const ulimits = (query: Query): string => {
  const value = json(query, 'ulimits') ?? []
  if (!Array.isArray(value)) throw badRequest('error reading ulimit settings: want a list')
  return value
    .map(entry => {
      const { Name, Soft, Hard } = (entry ?? {}) as Record<string, unknown>
      return `${String(Name)}=${String(Soft)}:${String(Hard)}`
    })
    .join(',')
}

/** Images with a cache within, or caches by their names. */
const cacheFrom = (query: Query): string => {
  const value = json(query, 'cachefrom') ?? []
  if (!Array.isArray(value) || !value.every(name => typeof name === 'string'))
    throw badRequest('error reading cachefrom: want a list of names')
  return value.join(',')
}

const networkOf = (query: Query): string => {
  const mode = query.get('networkmode') ?? ''
  if (['', 'default', 'bridge'].includes(mode)) return ''
  if (['none', 'host'].includes(mode)) return mode
  throw notImplemented(`a build on the network ${mode}: use default, none or host`)
}

const limits = ['memory', 'memswap', 'cpushares', 'cpuperiod', 'cpuquota', 'cpusetcpus', 'cpusetmems']

/** Clients send 0 where nobody asked for a limit; less than that is none either, but of swap. */
const unset: Record<string, RegExp> = {
  memory: /^(0|-\d+)$/,
  memswap: /^0$/,
  cpushares: /^(0|-\d+)$/,
  cpuperiod: /^(0|-\d+)$/,
  cpuquota: /^(0|-\d+)$/,
  cpusetcpus: /^$/,
  cpusetmems: /^$/,
  shmsize: /^0$/,
}

const limitOf = (query: Query, name: string): string => {
  const text = query.get(name) ?? ''
  return unset[name]?.test(text) ? '' : text
}

export const refuseUnbuilt = (query: Query): void => {
  const remote = query.get('remote')
  if (remote && !isAddress(remote))
    throw badRequest(`remoteURL (${remote}) could not be recognized as URL of a repository or a download`)
  if ((query.get('version') ?? '1') !== '1')
    throw notImplemented(
      'a build by BuildKit through POST /build: clients ask for it over /grpc and /session',
    )
  if (query.get('outputs')) throw notImplemented('outputs of a classic build')
}

/** As BuildKit's clients would ask for it. Errors: `bad-request`. */
export const attributesOf = (query: Query): Record<string, string> => {
  const hosts = query.all('extrahosts').map(parseExtraHost)
  const options: Record<string, string> = {
    filename: query.get('dockerfile') || 'Dockerfile',
    ...(query.get('remote') ? { context: query.get('remote') ?? '' } : { dockerfilekey: 'context' }),
    platform: query.get('platform') ?? '',
    target: query.get('target') ?? '',
    'force-network-mode': networkOf(query),
    'add-hosts': hosts.map(({ name, address }) => `${name}=${address}`).join(','),
    ulimit: ulimits(query),
    'cache-from': cacheFrom(query),
    'shm-size': limitOf(query, 'shmsize'),
    'cgroup-parent': query.get('cgroupparent') ?? '',
    ...Object.fromEntries(limits.map(name => [name, limitOf(query, name)])),
    ...(query.flag('pull') ? { 'image-resolve-mode': 'pull' } : {}),
  }
  return Object.fromEntries([
    ...texts(query, 'buildargs', 'build-arg:'),
    ...texts(query, 'labels', 'label:'),
    ...Object.entries(options).filter(([, value]) => value !== ''),
    ...(query.flag('nocache') ? [['no-cache', '']] : []),
  ])
}

export const namesOf = (query: Query): Reference[] =>
  query
    .all('t')
    .filter(Boolean)
    .map(text => {
      const name = parseReference(text)
      if (name.digest) throw badRequest('build tag cannot contain a digest')
      return name
    })
