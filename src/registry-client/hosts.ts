import { badRequest } from '../core/errors.ts'
import type { HostEntry } from './hostsFile.ts'
import { isLoopback, isNetwork, matchesNetwork } from './proxies.ts'
import type { Capability, HostTls, RegistryHost, RegistrySettings } from './types.ts'

/** Which hosts answer for a registry, in the order in which they are asked. Pure: files and names are read before. */

const hubHost = 'registry-1.docker.io'
const readOnly: ReadonlySet<Capability> = new Set(['pull', 'resolve'])
const everything: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push'])

/** `docker.io` is asked at another name, also where its old one is given. */
export const ownHost = (registry: string): string =>
  registry === 'docker.io' || registry === 'index.docker.io' ? hubHost : registry

const hostname = (address: string): string => address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')

/** A mirror as `--registry-mirror` takes it, without its last slash. Errors: `bad-request` in Docker's words. */
export const checkMirror = (mirror: string): string => {
  const shown = JSON.stringify(mirror.replace(/\/\/[^/@]*@/, '//xxxxx@'))
  if (!/^[^:]+:\/\//.test(mirror))
    throw badRequest(
      `invalid mirror: no scheme specified for ${shown}: must use either 'https://' or 'http://'`,
    )
  if (!URL.canParse(mirror)) throw badRequest(`invalid mirror: ${shown} is not a valid URI`)
  const url = new URL(mirror)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw badRequest(
      `invalid mirror: unsupported scheme "${url.protocol.slice(0, -1)}" in ${shown}: must use either 'https://' or 'http://'`,
    )
  if (url.search !== '' || url.hash !== '')
    throw badRequest(`invalid mirror: query or fragment at end of the URI ${shown}`)
  if (url.username !== '' || url.password !== '')
    throw badRequest(`invalid mirror: username/password not allowed in URI ${shown}`)
  return mirror.replace(/\/$/, '')
}

const domainForm =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\]|[a-fA-F0-9:]+)(?::\d{1,5})?$/

/** An entry of `--insecure-registry`. Errors: `bad-request` in Docker's words. */
export const checkInsecure = (entry: string): string => {
  if (entry.startsWith('-') || entry.endsWith('-'))
    throw badRequest(`invalid index name (${entry}). Cannot begin or end with a hyphen`)
  const bare = entry.replace(/^https?:\/\//i, '')
  if (bare.includes('://')) throw badRequest(`insecure registry ${entry} should not contain '://'`)
  if (isNetwork(bare)) return bare
  if (!domainForm.test(bare))
    throw badRequest(`insecure registry ${entry} is not valid: invalid host "${hostname(bare)}"`)
  const port = /:(\d+)$/.exec(bare)?.[1]
  if (port !== undefined && Number(port) > 65535)
    throw badRequest(`insecure registry ${entry} is not valid: invalid port "${port}"`)
  return bare
}

/**
 * May be spoken to without TLS, or with a certificate of anybody's: named so, or at an address of a network that is,
 * or on this machine. `lookup` gives the addresses of a name, none where it has none.
 */
export const isInsecure = async (
  address: string,
  insecure: readonly string[],
  lookup: (name: string) => Promise<string[]>,
): Promise<boolean> => {
  const entries = insecure.map(checkInsecure)
  if (address === hubHost || address === 'docker.io') return false
  if (entries.includes(address)) return true
  const addresses = await lookup(hostname(address))
  return addresses.some(
    known => isLoopback(known) || entries.some(entry => isNetwork(entry) && matchesNetwork(known, entry)),
  )
}

/** What was found out about a registry before its hosts are decided. */
export interface Findings {
  registry: string
  /** Of its folder: undefined where there is no `hosts.toml`. */
  entries: { entry: HostEntry; tls: HostTls }[] | undefined
  /** `*.crt`, `*.cert` and `*.key` of the folder of an address. */
  tls(address: string): HostTls
  /** As `isInsecure` found for the registry and its mirrors. */
  insecure(address: string): boolean
}

/** Errors: `bad-request` for what is no address. */
const addressOf = (base: string): string => {
  const url = URL.parse(base)
  if (!url) throw badRequest(`unable to parse server address: ${JSON.stringify(base)}`)
  return url.host
}

const hostOf = (registry: string, base: string, tls: HostTls): RegistryHost => ({
  base,
  capabilities: everything,
  namespace: addressOf(base) === addressOf(`https://${ownHost(registry)}`) ? '' : registry,
  overridePath: false,
  tls,
  headers: {},
})

/** Over TLS, and where no certificate counts, also without it: in this order, as Docker does. */
const ownHosts = (registry: string, tls: HostTls, insecure: boolean): RegistryHost[] => {
  const own = ownHost(registry)
  const secure = hostOf(registry, `https://${own}`, { ...tls, skipVerify: tls.skipVerify || insecure })
  return insecure ? [secure, { ...secure, base: `http://${own}` }] : [secure]
}

const entryHosts = (findings: Findings, entry: HostEntry, tls: HostTls): RegistryHost[] => {
  const { registry } = findings
  const rest = { capabilities: entry.capabilities, headers: entry.headers }
  const hosts =
    entry.server === ''
      ? ownHosts(registry, tls, findings.insecure(ownHost(registry)))
      : [hostOf(registry, entry.server.replace(/\/+$/, ''), tls)]
  return hosts.map(host => ({
    ...host,
    ...rest,
    base: entry.overridePath ? host.base : host.base.replace(/\/v2$/, ''),
    overridePath: entry.overridePath && entry.server !== '',
  }))
}

const mirrorHosts = (findings: Findings, mirrors: readonly string[]): RegistryHost[] =>
  [...new Set(mirrors.map(checkMirror))].map(mirror => {
    const address = addressOf(mirror)
    const tls = findings.tls(address)
    const host = hostOf(findings.registry, mirror, {
      ...tls,
      skipVerify: tls.skipVerify || findings.insecure(address),
    })
    return { ...host, capabilities: readOnly, namespace: findings.registry }
  })

export const decideHosts = (findings: Findings, settings: RegistrySettings): RegistryHost[] => {
  const { registry, entries } = findings
  const own = ownHost(registry)
  const mirrors = registry === 'docker.io' ? mirrorHosts(findings, settings.mirrors) : []
  const listed = entries
    ? entries.flatMap(({ entry, tls }) => entryHosts(findings, entry, tls))
    : ownHosts(registry, findings.tls(registry), findings.insecure(own))
  return [...mirrors, ...listed]
}
