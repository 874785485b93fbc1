import path from 'node:path'
import { accessClass } from '../api/access.ts'
import type { Route } from '../api/route.ts'
import { allRoutes } from '../api/routes.ts'
import { badRequest, messageOf } from '../core/errors.ts'
import type { AccessPolicy } from '../engine/settings.ts'
import { type Decoded, list, object, string } from '../wire/decode.ts'
import { idIn } from './accounts.ts'
import type { Given } from './flags.ts'
import { type Host, listenedHosts, parseHost, unixPaths } from './listen.ts'

/** `access-policies` of daemon.json. */

const fields = {
  name: string,
  who: object({
    users: list(string),
    groups: list(string),
    certificates: list(string),
    sockets: list(string),
  }),
  allow: list(string),
  deny: list(string),
}
const decode = object(fields)
type Policy = Decoded<typeof decode>

const known = { policy: Object.keys(fields), who: ['users', 'groups', 'certificates', 'sockets'] }

const checkKeys = (value: unknown, keys: readonly string[]): void => {
  const unknown = Object.keys((value ?? {}) as object).filter(key => !keys.includes(key))
  if (unknown.length > 0) throw badRequest(`unknown ${unknown.join(', ')}: use ${keys.join(', ')}`)
}

const pattern = (text: string): RegExp => new RegExp(`^${text.split('*').map(RegExp.escape).join('.*')}$`)

/** Operations that a list of classes and names, `*` in them for anything, stands for. */
const operationsOf = (routes: readonly Route[], words: readonly string[]): string[] =>
  words.flatMap(word => {
    const form = pattern(word)
    const found = routes.filter(
      route => word === 'all' || accessClass(route) === word || form.test(route.operation),
    )
    if (found.length === 0)
      throw badRequest(
        `${JSON.stringify(word)} is no operation: use read, content, change, all, or operations of docs/api.md like ContainerStart or Container*`,
      )
    return found.map(({ operation }) => operation)
  })

const ids = (file: '/etc/passwd' | '/etc/group', kind: string, given: readonly string[] = []): number[] =>
  given.map(name => {
    const id = idIn(file, name)
    if (id === undefined) throw badRequest(`there is no ${kind} ${JSON.stringify(name)} on this host`)
    return id
  })

/** A path, with or without `unix://`, or an abstract name. */
const socketOf = (text: string): string => {
  if (text.startsWith('@')) return text
  return text.startsWith('unix://') ? (parseHost(text).unixPath ?? text) : path.resolve('/', text)
}

const whoOf = (who: NonNullable<Policy['who']>): NonNullable<AccessPolicy['who']> => {
  const found = {
    users: ids('/etc/passwd', 'user', who.users),
    groups: ids('/etc/group', 'group', who.groups),
    certificates: (who.certificates ?? []).map(pattern),
    sockets: (who.sockets ?? []).map(socketOf),
  }
  if (Object.values(found).every(names => names.length === 0))
    throw badRequest('who names nobody: leave it out for everyone')
  return found
}

const policyOf = (routes: readonly Route[], given: unknown, place: number): AccessPolicy => {
  let label = `number ${place + 1}`
  try {
    checkKeys(given, known.policy)
    const { name, who, allow, deny = [] } = decode(given, '')
    if (!name) throw badRequest('it has no name')
    label = name
    checkKeys(who, known.who)
    if (!allow) throw badRequest('allow is missing: an empty list allows nothing')
    const denied = new Set(operationsOf(routes, deny))
    const operations = operationsOf(routes, [...allow, 'ping']).filter(operation => !denied.has(operation))
    return { name, ...(who ? { who: whoOf(who) } : {}), operations: new Set(operations) }
  } catch (error) {
    throw badRequest(`access-policies: ${label}: ${messageOf(error)}`, error)
  }
}

/** Errors: `bad-request` that names the policy: one that is wrong must not be left out. */
export const accessPoliciesOf = (values: Given): AccessPolicy[] => {
  const given = (values.get('access-policies') ?? []) as unknown[]
  if (given.length === 0) return []
  const routes = allRoutes({ id: '' })
  return given.map((policy, place) => policyOf(routes, policy, place))
}

/** Errors: `bad-request` for a policy by a socket on which the daemon does not listen: it would hold nobody. */
export const checkSockets = (policies: readonly AccessPolicy[], hosts: readonly Host[]): void => {
  const named = policies.flatMap(({ name, who }) => (who?.sockets ?? []).map(socket => ({ name, socket })))
  if (named.length === 0) return
  const paths = unixPaths(listenedHosts(hosts))
  for (const { name, socket } of named)
    if (!paths.includes(socket))
      throw badRequest(
        `access-policies: ${name}: the daemon does not listen on the unix socket ${JSON.stringify(socket)}: ${paths.length > 0 ? `it listens on ${paths.join(', ')}` : 'it listens on none'}`,
      )
}
