import type { Builder } from '../build/builder.ts'
import { classicBuild, failedCommand } from '../build/classic/classicBuild.ts'
import { bareClient } from '../build/clients/bareClient.ts'
import { type FrontendAttributes, readAttributes } from '../build/frontend/attributes.ts'
import { FrontendError } from '../build/frontend/frontend.ts'
import { isAddress } from '../build/frontend/remoteContext.ts'
import { asBerthError, BerthError, badRequest, notImplemented } from '../core/errors.ts'
import { familiar, parseReference, type Reference } from '../oci/reference.ts'
import { progressLines } from './progressLines.ts'
import { registryCredentials } from './registryAuth.ts'
import type { Call, Query, Route } from './route.ts'
import { tracked } from './track.ts'

/** `POST /build` of the classic builder: the context is the request's body. */

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

const refuseUnbuilt = (query: Query): void => {
  const limit = limits.find(name => !['', '0', '-1'].includes(query.get(name) ?? ''))
  if (limit) throw notImplemented(`a limit of build steps (${limit})`)
  if (query.flag('squash')) throw notImplemented('squashing the layers of a build (--squash)')
  const remote = query.get('remote')
  if (remote && !isAddress(remote))
    throw badRequest(`remoteURL (${remote}) could not be recognized as URL of a repository or a download`)
  if ((query.get('version') ?? '1') !== '1')
    throw notImplemented(
      'a build by BuildKit through POST /build: clients ask for it over /grpc and /session',
    )
  if (query.get('outputs')) throw notImplemented('outputs of a classic build')
}

const attributesOf = (query: Query): FrontendAttributes => {
  refuseUnbuilt(query)
  const hosts = query
    .all('extrahosts')
    .map(entry => entry.replace(':', '='))
    .join(',')
  return readAttributes({
    ...Object.fromEntries([...texts(query, 'buildargs', 'build-arg:'), ...texts(query, 'labels', 'label:')]),
    filename: query.get('dockerfile') || 'Dockerfile',
    ...(query.get('remote') ? { context: query.get('remote') ?? '' } : { dockerfilekey: 'context' }),
    platform: query.get('platform') ?? '',
    target: query.get('target') ?? '',
    'force-network-mode': networkOf(query),
    'add-hosts': hosts,
    ulimit: ulimits(query),
    'cache-from': cacheFrom(query),
    'shm-size': query.get('shmsize') ?? '',
    'cgroup-parent': query.get('cgroupparent') ?? '',
    ...(query.flag('nocache') ? { 'no-cache': '' } : {}),
    ...(query.flag('pull') ? { 'image-resolve-mode': 'pull' } : {}),
  })
}

const namesOf = (query: Query): Reference[] =>
  query
    .all('t')
    .filter(Boolean)
    .map(text => {
      const name = parseReference(text)
      if (name.digest) throw badRequest('build tag cannot contain a digest')
      return name
    })

/** What a client prints behind `Error response`, with the lines of the Dockerfile that it is about. */
const told = (error: unknown): BerthError => {
  if (!(error instanceof FrontendError)) return asBerthError(error)
  const line = error.ranges[0]?.start.line
  const where =
    line === undefined || /line \d/.test(error.message) ? '' : `${error.source.fileName}:${line}: `
  return new BerthError(error.code, error.status, `${where}${error.message}`, { cause: error })
}

const build = async (builder: Builder, call: Call): Promise<undefined> => {
  const { query, req } = call
  const attributes = attributesOf(query)
  const names = namesOf(query)
  const credentials = registryCredentials(call)
  const quiet = query.flag('q')
  const what = {
    verb: 'build',
    subject: { type: 'image', id: '', name: names.map(familiar).join(',') },
    endsWithClient: true,
  }
  return await progressLines(call, async report => {
    try {
      await tracked(call, what, async operation => {
        using client = query.get('remote')
          ? bareClient(credentials)
          : await builder.unpack(req, operation.signal, credentials)
        const tell = (line: object): void => {
          if (!quiet || 'aux' in line) report(line)
        }
        const id = await classicBuild({ builder, client, attributes, names, operation, tell })
        if (quiet) report({ stream: `${id}\n` })
      })
    } catch (error) {
      const failed = failedCommand(error)
      if (!failed) throw told(error)
      report({ errorDetail: failed, error: failed.message })
    }
  })
}

export const classicBuildRoute = (builder: Builder | undefined): Route => ({
  method: 'POST',
  path: '/build',
  operation: 'ImageBuild',
  lacks: 'limits of memory and processors, squash, outputs',
  handle: async call => {
    if (!builder) throw notImplemented('building an image')
    return await build(builder, call)
  },
})
