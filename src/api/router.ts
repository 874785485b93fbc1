import type { Method, Route } from './route.ts'

/**
 * Finds the route of a request. Names of images and plugins hold slashes
 * (`/images/example.org/team/app/json`), which segment routers cannot match:
 * so `{name}` takes any, `{id}` none, but
 * that of a container, which a link names `parent/alias`.
 */
export interface Found {
  route: Route
  params: Record<string, string>
}

interface Entry {
  form: RegExp
  names: string[]
  route: Route
}

const literal = (text: string): string => text.replace(/[.*+?^$()[\]\\|]/g, '\\$&')

const compile = (route: Route): Entry => {
  const names: string[] = []
  const source = route.path
    .split(/(\{\w+\})/)
    .map(part => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1]
      if (name === undefined) return literal(part)
      names.push(name)
      return name === 'name' || route.path.startsWith('/containers/') ? '(.+)' : '([^/]+)'
    })
    .join('')
  return { form: new RegExp(`^${source}/?$`), names, route }
}

const words = ({ path }: Route): number =>
  path.split('/').filter(part => part && !part.startsWith('{')).length

/** Fixed words before parameters, so that `/images/json` is no image, and a container's checkpoint no link. */
const byFixedness = (a: Entry, b: Entry): number =>
  words(b.route) - words(a.route) || a.names.length - b.names.length

const firstWord = (path: string): string => path.split('/', 2)[1] ?? ''

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const createRouter = (
  routes: readonly Route[],
): ((method: string, path: string) => Found | undefined) => {
  const tables = new Map<string, Entry[]>()
  for (const route of routes) {
    const key = `${route.method} ${firstWord(route.path)}`
    tables.set(key, [...(tables.get(key) ?? []), compile(route)].sort(byFixedness))
  }
  return (method, path) => {
    for (const { form, names, route } of tables.get(`${method as Method} ${firstWord(path)}`) ?? []) {
      const match = form.exec(path)
      if (!match) continue
      return {
        route,
        params: Object.fromEntries(names.map((name, index) => [name, decoded(match[index + 1] ?? '')])),
      }
    }
    return undefined
  }
}
