import path from 'node:path'
import { badRequest, messageOf } from '../core/errors.ts'
import type { Capability } from './types.ts'

/** containerd's `hosts.toml`: which hosts answer for a registry, in the order of the file, itself last. */
export interface HostEntry {
  /** A URL; empty for the registry itself. */
  server: string
  capabilities: ReadonlySet<Capability>
  overridePath: boolean
  skipVerify: boolean
  headers: Record<string, string[]>
  /** Files of authorities, absolute. */
  authorities: string[]
  /** Files of certificate and key, absolute; both are the same where one file holds both. */
  client: { certificate: string; key: string } | undefined
}

type Table = Record<string, unknown>
type Parse = (text: string) => Table

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isText = (value: unknown): value is string => typeof value === 'string'

const textsOf = (value: unknown, what: string): string[] => {
  if (value === undefined) return []
  const texts = Array.isArray(value) ? value : [value]
  if (!texts.every(isText)) throw badRequest(`${what} must be a text or a list of texts`)
  return texts
}

const flagOf = (value: unknown, what: string): boolean => {
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw badRequest(`${what} must be true or false`)
}

const everything: Capability[] = ['pull', 'resolve', 'push']

/** `referrers` is a capability of containerd's that nothing here asks for. */
const capabilitiesOf = (value: unknown): ReadonlySet<Capability> => {
  const names = textsOf(value, 'capabilities').map(name => name.toLowerCase())
  for (const name of names)
    if (name !== 'referrers' && !everything.some(known => known === name))
      throw badRequest(`unknown capability ${name}: pull, resolve and push are known`)
  return new Set(names.length === 0 ? everything : everything.filter(known => names.includes(known)))
}

const clientOf = (value: unknown, folder: string): HostEntry['client'] => {
  if (value === undefined) return undefined
  const entries: unknown[] = Array.isArray(value) ? value : [value]
  if (entries.length > 1)
    throw badRequest('client names several certificates; one is supported: keep the one that this host wants')
  const pair = entries[0]
  const [certificate, key] = Array.isArray(pair) && pair.length === 2 ? pair : [pair, pair]
  if (!isText(certificate) || !isText(key))
    throw badRequest('client must be a file, or a pair of files: [["client.cert", "client.key"]]')
  return { certificate: path.resolve(folder, certificate), key: path.resolve(folder, key) }
}

const serverOf = (text: string): string => {
  if (text === '') return ''
  const full = /^https?:\/\//.test(text) ? text : `https://${text}`
  if (!URL.canParse(full) || new URL(full).username !== '')
    throw badRequest(`${text} is no address of a host`)
  return full
}

const headersOf = (table: unknown): Record<string, string[]> => {
  if (!isTable(table)) throw badRequest('header must be a table of names and texts')
  const headers = Object.entries(table).map(([name, value]) => {
    const texts = textsOf(value, `header ${name}`)
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || !texts.every(text => /^[\t\x20-\x7e]*$/.test(text)))
      throw badRequest(`header ${JSON.stringify(name)} is none that can be sent`)
    return [name, texts] as const
  })
  return Object.fromEntries(headers)
}

const entryOf = (server: string, table: Table, folder: string): HostEntry => ({
  server: serverOf(server),
  capabilities: capabilitiesOf(table['capabilities']),
  overridePath: flagOf(table['override_path'], 'override_path'),
  skipVerify: flagOf(table['skip_verify'], 'skip_verify'),
  headers: headersOf(table['header'] ?? {}),
  authorities: textsOf(table['ca'], 'ca').map(file => path.resolve(folder, file)),
  client: clientOf(table['client'], folder),
})

/** Parses the `hosts.toml` of a folder. Errors: `bad-request`, which names the file. */
export const parseHostsFile = (text: string, folder: string, parse: Parse): HostEntry[] => {
  try {
    const file = parse(text)
    const hosts = file['host'] ?? {}
    if (!isTable(hosts)) throw badRequest('host must be tables: [host."https://mirror.example"]')
    const entries = Object.entries(hosts).map(([server, table]) => {
      if (!isTable(table)) throw badRequest(`host ${server} must be a table: [host."${server}"]`)
      return entryOf(server, table, folder)
    })
    const server = file['server'] ?? ''
    if (!isText(server)) throw badRequest('server must be a text')
    return [...entries, entryOf(server, file, folder)]
  } catch (error) {
    const why = messageOf(error).split('\n')[0]
    throw badRequest(`invalid ${path.join(folder, 'hosts.toml')}: ${why}`, error)
  }
}
