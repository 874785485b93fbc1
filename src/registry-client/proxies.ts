import { BlockList, isIP } from 'node:net'
import { badRequest } from '../core/errors.ts'

/** Which proxy a request goes through: the rules of Go's net/http for HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
export interface ProxySettings {
  http: string
  https: string
  no: string
}

/** `[::1]:80` and `a:80` in their parts; the port is empty where there is none. */
const splitPort = (text: string): [host: string, port: string] => {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(text)
  return match ? [match[1] ?? match[2] ?? '', match[3] ?? ''] : [text, '']
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 4 ? 'ipv4' : 'ipv6')

const inNetwork = (address: string, network: string, prefix: number): boolean => {
  if (!isIP(network) || !(prefix <= (isIP(network) === 4 ? 32 : 128))) return false
  const list = new BlockList()
  list.addSubnet(network, prefix, familyOf(network))
  return list.check(address, familyOf(address))
}

/** An address, or a name of it, is in `network/prefix`. */
export const matchesNetwork = (address: string, network: string): boolean => {
  const [base = '', prefix = ''] = network.split('/')
  return isIP(address) !== 0 && /^\d{1,3}$/.test(prefix) && inNetwork(address, base, Number(prefix))
}

export const isNetwork = (text: string): boolean => {
  const [base = '', prefix = '', rest] = text.split('/')
  const family = isIP(base)
  return (
    family !== 0 &&
    rest === undefined &&
    /^\d{1,3}$/.test(prefix) &&
    Number(prefix) <= (family === 4 ? 32 : 128)
  )
}

export const isLoopback = (address: string): boolean =>
  matchesNetwork(address, '127.0.0.0/8') || matchesNetwork(address, '::1/128')

const exempts = (entry: string, host: string, port: string): boolean => {
  if (entry === '*') return true
  if (isNetwork(entry)) return matchesNetwork(host, entry)
  const [name, wantedPort] = isIP(entry) ? [entry, ''] : splitPort(entry)
  if (name === '' || (wantedPort !== '' && wantedPort !== port)) return false
  if (isIP(name)) return isIP(host) !== 0 && inNetwork(host, name, isIP(name) === 4 ? 32 : 128)
  const domain = name.startsWith('*.') ? name.slice(1) : name
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`)
}

const asUrl = (text: string): URL => {
  try {
    const url = new URL(text)
    if (/^(https?|socks5h?):$/.test(url.protocol)) return url
  } catch {
    // `proxy:3128` has no scheme, and is one of HTTP.
  }
  if (!text.includes('://') && URL.canParse(`http://${text}`)) return new URL(`http://${text}`)
  // It may hold a password, and is not shown.
  throw badRequest('the proxy of the daemon is no address: want http://host:port; see its proxy settings')
}

/** The proxy for a URL; undefined where the request goes straight. Errors: `bad-request` for a proxy that is no address. */
export const proxyFor = (url: URL, settings: ProxySettings): URL | undefined => {
  const proxy = url.protocol === 'https:' ? settings.https : settings.http
  if (proxy === '') return undefined
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (host === 'localhost' || isLoopback(host)) return undefined
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  const entries = settings.no.split(',').map(entry => entry.trim().toLowerCase())
  return entries.some(entry => exempts(entry, host, port)) ? undefined : asUrl(proxy)
}
