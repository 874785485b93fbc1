import { quote } from './characters.ts'
import { DockerfileError } from './errors.ts'

/** Ports of EXPOSE, in which addresses and ports of the host are still read and then count for nothing. */

interface PortParts {
  address: string
  host: string
  /** With what is behind the slash. */
  container: string
  protocol: string
}

export const splitPort = (text: string): PortParts => {
  const parts = text.split(':')
  const last = parts.at(-1) ?? ''
  const slash = last.indexOf('/')
  return {
    address: parts.slice(0, -2).join(':'),
    host: parts.at(-2) ?? '',
    container: slash < 0 ? last : last.slice(0, slash),
    protocol: slash < 0 ? '' : last.slice(slash + 1),
  }
}

const protocolOf = (text: string, { container, protocol }: PortParts): string => {
  const wrong = (what: string): DockerfileError =>
    new DockerfileError(`invalid port: ${quote(text)}: ${what}`)
  if (container === '') throw wrong('no port specified')
  const lower = protocol.toLowerCase()
  if (!['', 'tcp', 'udp', 'sctp'].includes(lower)) throw wrong(`invalid proto: ${protocol}`)
  return lower || 'tcp'
}

const isAddress = (text: string): boolean => {
  if (/^(\d{1,3}\.){3}\d{1,3}$/.test(text))
    return text.split('.').every(part => Number(part) <= 255 && String(Number(part)) === part)
  return text.includes(':') && URL.canParse(`http://[${text}]/`)
}

const checkAddress = (address: string): void => {
  if (address === '') return
  const plain = address.startsWith('[') && address.endsWith(']') ? address.slice(1, -1) : address
  if (!isAddress(plain)) throw new DockerfileError(`invalid IP address: ${plain}`)
}

const readNumber = (text: string): number => {
  const port = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  return port >= 0 && port <= 65535 ? port : Number.NaN
}

const readRange = (text: string): { first: number; last: number } | undefined => {
  const dash = text.indexOf('-')
  const first = readNumber(dash < 0 ? text : text.slice(0, dash))
  const last = dash < 0 ? first : readNumber(text.slice(dash + 1))
  return last >= first ? { first, last } : undefined
}

const checkHost = (host: string, container: string, count: number): void => {
  if (host === '') return
  const range = readRange(host)
  if (!range) throw new DockerfileError(`invalid hostPort: ${host}`)
  if (count > 0 && range.last - range.first !== count)
    throw new DockerfileError(
      `invalid ranges specified for container and host Ports: ${container} and ${host}`,
    )
}

/** `80`, `80-81/udp` as the image's configuration has them: `80/tcp`. Errors: in BuildKit's words. */
export const readPorts = (text: string): string[] => {
  const parts = splitPort(text)
  const { address, host, container } = parts
  const protocol = protocolOf(text, parts)
  checkAddress(address)
  const range = readRange(container)
  if (!range) throw new DockerfileError(`invalid containerPort: ${container}`)
  checkHost(host, container, range.last - range.first)
  const { first, last } = range
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`)
}
