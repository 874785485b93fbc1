import { isIP } from 'node:net'
import { badRequest } from '../../core/errors.ts'
import { canonical } from '../../net/subnets.ts'
import type { PortRequest, Protocol } from '../../net/types.ts'
import type { HostConfig } from '../../wire/container.ts'

/** What `-p` and `-P` ask for, as the network layer takes it. */

const portForm = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/

const parsePort = (text: string): { port: number; protocol: Protocol } => {
  const match = portForm.exec(text.toLowerCase())
  const port = Number(match?.[1])
  if (!match || port > 65535 || port === 0) throw badRequest(`invalid port specification: "${text}"`)
  const protocol = match[2] ?? 'tcp'
  if (protocol === 'sctp')
    throw badRequest(`invalid port specification: "${text}": SCTP is not supported by this version of Berth`)
  return { port, protocol: protocol as Protocol }
}

const parseHostPort = (text: string): [first: number, last: number] => {
  if (text === '') return [0, 0]
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  const first = Number(match?.[1])
  const last = match?.[2] === undefined ? first : Number(match[2])
  if (!match || first > 65535 || last > 65535 || last < first)
    throw badRequest(`invalid port specification: "${text}"`)
  return [first, last]
}

const parseHostIp = (text: string): string => {
  if (text !== '' && isIP(text) === 0)
    throw badRequest(`invalid port specification: invalid IP address: ${text}`)
  return text === '' ? '' : canonical(text)
}

/** Each published port of a container, explicit ones first. Errors: `bad-request`. */
export const decidePorts = (
  hostConfig: HostConfig,
  exposed: Record<string, object> | undefined,
): PortRequest[] => {
  const requests: PortRequest[] = []
  for (const [spec, bindings] of Object.entries(hostConfig.PortBindings ?? {})) {
    const { port, protocol } = parsePort(spec)
    for (const binding of bindings ?? []) {
      const [hostPortFirst, hostPortLast] = parseHostPort(binding.HostPort ?? '')
      requests.push({
        protocol,
        containerPort: port,
        hostIp: parseHostIp(binding.HostIp ?? ''),
        hostPortFirst,
        hostPortLast,
      })
    }
  }
  if (!hostConfig.PublishAllPorts) return requests
  const published = new Set(requests.map(request => `${request.containerPort}/${request.protocol}`))
  for (const spec of Object.keys(exposed ?? {})) {
    const { port, protocol } = parsePort(spec)
    if (published.has(`${port}/${protocol}`)) continue
    requests.push({ protocol, containerPort: port, hostIp: '', hostPortFirst: 0, hostPortLast: 0 })
  }
  return requests
}

/** Throws where a port of `--expose` or EXPOSE is not one. */
export const checkExposed = (exposed: Record<string, object> | undefined): void => {
  for (const spec of Object.keys(exposed ?? {})) parsePort(spec)
}
