/** A container's resolv.conf, from the host's and from what was asked for. Pure. */

export interface ResolverSettings {
  /** `--dns`; empty takes the host's. */
  servers: string[]
  /** `--dns-search`; empty takes the host's, `.` alone means none. */
  search: string[]
  /** `--dns-option`; empty takes the host's. */
  options: string[]
}

/** Where systemd-resolved keeps the servers that stand behind its stub. */
export const resolvedUpstreamFile = '/run/systemd/resolve/resolv.conf'

/** Used where the host has only resolvers that a container cannot reach, as Docker's default bridge does. */
export const fallbackServers = ['8.8.8.8', '8.8.4.4']

interface Parsed {
  servers: string[]
  search: string[]
  options: string[]
}

const words = (line: string): string[] =>
  line
    .replace(/[#;].*$/, '')
    .trim()
    .split(/\s+/)
    .filter(word => word !== '')

/** Reads a resolv.conf: the last `search` or `domain` counts, options add up. */
export const parseResolvConf = (text: string): Parsed => {
  const parsed: Parsed = { servers: [], search: [], options: [] }
  for (const line of text.split('\n')) {
    const [keyword, ...values] = words(line)
    if (keyword === 'nameserver' && values[0]) parsed.servers.push(values[0])
    else if (keyword === 'search' || keyword === 'domain') parsed.search = values
    else if (keyword === 'options') parsed.options.push(...values)
  }
  return parsed
}

const isLoopback = (server: string): boolean => /^127\.|^::1(%|$)/.test(server)

/** An address of one of the host's links (`fe80::1%eth0`) means nothing elsewhere. */
const isOfLink = (server: string): boolean => server.includes('%')

/**
 * True where systemd-resolved's stub is the only server: then the servers are
 * in `resolvedUpstreamFile`.
 */
export const usesResolvedStub = (hostText: string): boolean => {
  const { servers } = parseResolvConf(hostText)
  return servers.length > 0 && servers.every(server => server === '127.0.0.53' || server === '127.0.0.54')
}

/**
 * Text for a container on a user-defined network: Berth's name server there, which asks the host's. `hostText` as for
 * `buildResolvConf`; servers that were asked for are that one's to know.
 */
export const buildInternalResolvConf = (hostText: string, settings: ResolverSettings): string => {
  const host = parseResolvConf(hostText)
  const search = (settings.search.length > 0 ? settings.search : host.search).filter(name => name !== '.')
  const asked = settings.options.length > 0 ? settings.options : host.options
  const options = asked.some(option => option.startsWith('ndots:')) ? asked : [...asked, 'ndots:0']
  const lines = ['nameserver 127.0.0.11']
  if (search.length > 0) lines.push(`search ${search.join(' ')}`)
  lines.push(`options ${options.join(' ')}`)
  return `# Written by Berth at each start of this container.\n${lines.join('\n')}\n`
}

/** Where names are asked that are not ours: what was asked for, else the host's servers, else Docker's two. */
export const upstreamServers = (hostText: string, asked: string[]): string[] => {
  if (asked.length > 0) return asked
  const host = parseResolvConf(hostText).servers.filter(server => !isOfLink(server))
  return host.length > 0 ? host : fallbackServers
}

/** What a container on a bridge can reach: no loopback, and IPv6 where it has it; the fallback where nothing is left. */
export const reachableServers = (servers: string[], ipv6 = false): string[] => {
  const left = servers.filter(
    server => !isLoopback(server) && !isOfLink(server) && (ipv6 || !server.includes(':')),
  )
  return left.length > 0 ? left : fallbackServers
}

/**
 * Text for a container on the default bridge. `hostText` is the host's
 * resolv.conf, or what stands behind its stub. Servers that were asked for are
 * taken as they are, loopback or not.
 */
export const buildResolvConf = (
  hostText: string,
  settings: ResolverSettings & { ipv6?: boolean },
): string => {
  const host = parseResolvConf(hostText)
  const servers =
    settings.servers.length > 0 ? settings.servers : reachableServers(host.servers, settings.ipv6)
  const search = (settings.search.length > 0 ? settings.search : host.search).filter(name => name !== '.')
  const options = settings.options.length > 0 ? settings.options : host.options
  const lines = servers.map(server => `nameserver ${server}`)
  if (search.length > 0) lines.push(`search ${search.join(' ')}`)
  if (options.length > 0) lines.push(`options ${options.join(' ')}`)
  return `# Written by Berth at each start of this container.\n${lines.join('\n')}\n`
}
