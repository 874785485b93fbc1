/** A container's /etc/hosts. Pure. */

export interface HostsSettings {
  /** Names of the container itself, the full one first; its addresses on its networks. */
  self: { addresses: string[]; names: string[] }
  /** `--add-host`: name and address, in the order given. */
  extra: { name: string; address: string }[]
  /** The container has IPv6. */
  ipv6: boolean
}

const ipv6Lines = [
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
]

/** `web` with domain `example.org`, or `web.example.org` alone, is known as `web.example.org` and `web`. */
export const selfNames = (hostname: string, domain: string): string[] => {
  const full = domain === '' ? hostname : `${hostname}.${domain}`
  const [bare = ''] = full.split('.')
  return bare === full ? [full] : [full, bare]
}

export const buildHosts = ({ self, extra, ipv6 }: HostsSettings): string => {
  const lines = ['127.0.0.1\tlocalhost', ...(ipv6 ? ipv6Lines : [])]
  for (const { name, address } of extra) lines.push(`${address}\t${name}`)
  if (self.names.length > 0) {
    for (const address of self.addresses) lines.push(`${address}\t${self.names.join(' ')}`)
  }
  return `${lines.join('\n')}\n`
}

const addressOf = (line: string): string => line.trim().split(/\s+/)[0] ?? ''

/** The text with one more address of the container, behind its others; what else stands there stays. */
export const withAddress = (text: string, address: string, names: string[]): string =>
  `${withoutAddress(text, address).replace(/\n*$/, '')}\n${address}\t${names.join(' ')}\n`

/** The text without the lines of an address. */
export const withoutAddress = (text: string, address: string): string =>
  text
    .split('\n')
    .filter(line => addressOf(line) !== address)
    .join('\n')

/** The text with these names at this address, where its first one stands at another; what else stands there stays. */
export const withNames = (text: string, names: string[], address: string): string => {
  const line = `${address}\t${names.join(' ')}`
  const lines = text.split('\n')
  const at = lines.findIndex(known => known.trim().split(/\s+/)[1] === names[0])
  return at < 0 ? `${text.replace(/\n*$/, '')}\n${line}\n` : lines.with(at, line).join('\n')
}
