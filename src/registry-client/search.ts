import { badRequest } from '../core/errors.ts'
import type { Ask, Endpoint } from './endpoint.ts'
import { failure } from './failures.ts'
import type { SearchResult } from './types.ts'

/** The search of the registry protocol's first version, which is all there is of one. */

export const hubIndex = 'https://index.docker.io'

const answerLimit = 4 << 20

const resultOf = (value: unknown): SearchResult[] => {
  if (typeof value !== 'object' || value === null) return []
  const { name, description, star_count: stars, is_official: official } = value as Record<string, unknown>
  if (typeof name !== 'string') return []
  return [
    {
      name,
      description: typeof description === 'string' ? description : '',
      star_count: typeof stars === 'number' ? stars : 0,
      is_official: official === true,
      // What registries say of it is not to be trusted: Docker says no for all.
      is_automated: false,
    },
  ]
}

const resultsOf = (bytes: Buffer | undefined): SearchResult[] => {
  try {
    const { results } = JSON.parse(bytes?.toString() ?? '') as { results?: unknown }
    return Array.isArray(results) ? results.flatMap(resultOf) : []
  } catch {
    throw failure('registry-failed', 500, 'error decoding registry search results', {
      transient: false,
      spoke: true,
    })
  }
}

export interface SearchQuery {
  term: string
  limit: number
}

/** Asks one host. Errors: `registry-failed` with the status, and whatever ends a request. */
export const searchAt = async (
  endpoint: Endpoint,
  { term, limit }: SearchQuery,
  ask: Pick<Ask, 'signal' | 'subject'>,
): Promise<SearchResult[]> => {
  const query = new URLSearchParams({ q: term, n: String(limit) })
  const target = new URL(`/v1/search?${query}`, endpoint.host.base)
  const headers = { accept: 'application/json' }
  const answer = await endpoint.ask({
    ...ask,
    method: 'GET',
    target,
    headers,
    scopes: ['registry:catalog:search'],
  })
  const bytes = await answer.body.read(answerLimit)
  if (answer.status !== 200)
    throw failure('registry-failed', 500, `unexpected status code ${answer.status}`, {
      transient: answer.status >= 500 || answer.status === 429,
      spoke: true,
    })
  return resultsOf(bytes)
}

/** The registry and what is sought there, of a term as users write it. Errors: `bad-request` in Docker's words. */
export const splitTerm = (text: string): { registry: string; term: string } => {
  if (text.includes('://'))
    throw badRequest(`invalid repository name: repository name (${text}) should not have a scheme`)
  const slash = text.indexOf('/')
  const head = slash < 0 ? '' : text.slice(0, slash)
  const isHost = /[.:]/.test(head) || head === 'localhost'
  const rest = isHost ? text.slice(slash + 1) : text
  if (!isHost || head === 'docker.io' || head === 'index.docker.io')
    return { registry: 'docker.io', term: rest.replace(/^library\//, '') }
  return { registry: head, term: rest }
}
