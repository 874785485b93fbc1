import type { Ask, Endpoint } from './endpoint.ts'
import { failure } from './failures.ts'
import { nextLink } from './headers.ts'

/** The tags of a repository, page by page. */

const pageLimit = 8 * 1024 * 1024
const mostPages = 10_000

interface Page {
  tags: string[]
  next: URL | undefined
}

const broken = (endpoint: Endpoint, why: string): Error =>
  failure('registry-failed', 500, `${endpoint.host.base}: ${why}`, { transient: false, spoke: true })

const tagsIn = (endpoint: Endpoint, text: string): string[] => {
  try {
    const { tags } = JSON.parse(text) as { tags?: unknown }
    // A repository without tags may say null.
    if (tags === null || tags === undefined) return []
    if (Array.isArray(tags) && tags.every(tag => typeof tag === 'string')) return tags
  } catch {
    // Said below.
  }
  throw broken(endpoint, 'answers with something that is no list of tags')
}

/** One page of tags, and where the next one is. */
export const readPage = async (endpoint: Endpoint, ask: Ask): Promise<Page> => {
  const answer = await endpoint.expect(ask, [200])
  const content = await answer.body.read(pageLimit)
  if (!content) throw broken(endpoint, `a page of its list of tags is longer than ${pageLimit} bytes`)
  const link = nextLink(answer.headers['link'])
  const next = link !== undefined && URL.canParse(link, answer.url) ? new URL(link, answer.url) : undefined
  return { tags: tagsIn(endpoint, content.toString()), next }
}

/** Follows the pages that `read` gives. A list that leads back to a page, or has no end, is an error. */
export async function* followPages(
  endpoint: () => Endpoint,
  read: (target: URL | undefined) => Promise<Page>,
): AsyncGenerator<string> {
  const seen = new Set<string>()
  let target: URL | undefined
  for (let page = 0; page < mostPages; page += 1) {
    const { tags, next } = await read(target)
    yield* tags
    if (!next) return
    if (seen.has(next.href)) throw broken(endpoint(), 'its list of tags leads back to a page that was read')
    seen.add(next.href)
    target = next
  }
  throw broken(endpoint(), `its list of tags has more than ${mostPages} pages`)
}
