import { badRequest } from '../core/errors.ts'
import { whyContainer } from '../engine/containers/why.ts'
import type { Call, Query, Route } from './route.ts'

/** `/berth/v1/containers/{id}/why` */

const most = { ends: 10, lines: 20 }

/** Errors: `bad-request` for what is no number up to the highest. */
const countOf = (query: Query, name: keyof typeof most): number => {
  const count = query.int(name) ?? most[name]
  if (count < 0 || count > most[name])
    throw badRequest(`invalid value for ${name}: ${count} is not between 0 and ${most[name]}`)
  return count
}

const isText = (query: Query): boolean => {
  const format = query.get('format') ?? 'json'
  if (format !== 'json' && format !== 'text')
    throw badRequest(`invalid value for format: ${JSON.stringify(format)} is neither json nor text`)
  return format === 'text'
}

const why = async ({ engine, params, query, res }: Call): Promise<{ json: unknown } | undefined> => {
  const container = engine.containers.get(params['id'] ?? '')
  const text = isText(query)
  const options = { ends: countOf(query, 'ends'), lines: countOf(query, 'lines') }
  const answer = await whyContainer(engine, container, options)
  if (!text) return { json: answer.json }
  res.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' })
  res.end(answer.text)
  return undefined
}

export const whyRoutes: Route[] = [
  {
    method: 'GET',
    path: '/berth/v1/containers/{id}/why',
    operation: 'ContainerWhy',
    own: true,
    handle: why,
  },
]
