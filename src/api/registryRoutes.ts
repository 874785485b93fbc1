import { badRequest } from '../core/errors.ts'
import { inspectDistribution } from '../engine/images/distribution.ts'
import { searchFilters, searchImages } from '../engine/images/search.ts'
import { parseReference } from '../oci/reference.ts'
import type { Decoder } from '../wire/decode.ts'
import { Filters } from '../wire/filters.ts'
import { readRequiredJson } from './body.ts'
import { credentialsOf, registryAuth } from './registryAuth.ts'
import type { Call, Route } from './route.ts'

/** What is asked of registries besides images: `/auth`, `/distribution` and `/images/search`. */

const anything: Decoder<object> = value => (typeof value === 'object' && value !== null ? value : {})

/** `https://index.docker.io/v1/`, `https://host:5000/v2/` or `host:5000`, as clients keep credentials by. */
const registryOf = (address: string): string => {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  return ['', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'].includes(host)
    ? 'docker.io'
    : host
}

const login = async (call: Call) => {
  const { engine, req, signal } = call
  const body = (await readRequiredJson(req, anything)) as { serveraddress?: unknown }
  const credentials = credentialsOf(body)
  if (!credentials) throw badRequest('no credentials were given: want a username and a password, or a token')
  const registry = registryOf(typeof body.serveraddress === 'string' ? body.serveraddress : '')
  const { identityToken } = await engine.registries.login(registry, credentials, signal)
  return { json: { IdentityToken: identityToken, Status: 'Login Succeeded' } }
}

const search = async (call: Call) => {
  const { engine, query, signal } = call
  const text = query.get('limit') ?? ''
  if (!/^\d*$/.test(text)) throw badRequest(`invalid limit specified: ${JSON.stringify(text)}`)
  const found = await searchImages(engine, {
    term: query.get('term') ?? '',
    limit: Number(text),
    filters: Filters.parse(query.get('filters'), searchFilters),
    credentials: registryAuth(call),
    signal,
  })
  return { json: found }
}

export const registryRoutes: Route[] = [
  { method: 'POST', path: '/auth', operation: 'SystemAuth', handle: login },
  { method: 'GET', path: '/images/search', operation: 'ImageSearch', handle: search },
  {
    method: 'GET',
    path: '/distribution/{name}/json',
    operation: 'DistributionInspect',
    handle: async call => {
      const name = parseReference(call.params['name'] ?? '')
      const request = { name, credentials: registryAuth(call), signal: call.signal }
      return { json: await inspectDistribution(call.engine, request) }
    },
  },
]
