import { badRequest } from '../../core/errors.ts'
import { splitTerm } from '../../registry-client/search.ts'
import type { Credentials, SearchResult } from '../../registry-client/types.ts'
import type { Filters } from '../../wire/filters.ts'
import type { Engine } from '../engine.ts'

export interface ImageSearch {
  /** `busybox`, `team/app`, `host:5000/app`. */
  term: string
  /** 0 for as many as Docker asks for. */
  limit: number
  filters: Filters
  credentials: Credentials | undefined
  signal: AbortSignal
}

export const searchFilters = ['is-automated', 'is-official', 'stars']

const defaultLimit = 25

/** The largest of those asked for. */
const leastStars = (filters: Filters): number =>
  Math.max(
    0,
    ...filters.get('stars').map(text => {
      if (!/^[+-]?\d+$/.test(text)) throw badRequest(`invalid filter 'stars=${text}': not a number`)
      return Number(text)
    }),
  )

/** `GET /images/search`. Errors: `bad-request` in Docker's words, and the registry's. */
export const searchImages = async (engine: Engine, search: ImageSearch): Promise<SearchResult[]> => {
  const { filters, credentials, signal } = search
  // No image is said to be automated any more.
  if (filters.flag('is-automated')) return []
  const official = filters.flag('is-official')
  const stars = leastStars(filters)
  const { registry, term } = splitTerm(search.term)
  const limit = search.limit || defaultLimit
  if (limit < 1 || limit > 100) throw badRequest(`limit ${limit} is outside the range of [1, 100]`)
  const found = await engine.registries.search(registry, { term, limit, credentials, signal })
  return found.filter(
    result => (official === undefined || result.is_official === official) && result.star_count >= stars,
  )
}
