import { parseTime, zeroTime } from '../../core/clock.ts'
import type { Endpoint } from '../../net/types.ts'
import type { Container } from './container.ts'
import type { ContainerRecord } from './types.ts'

/** Words and shapes that list and inspect share. */

const units: [limit: number, size: number, one: string, many: string][] = [
  [60, 1, 'Less than a second', ' seconds'],
  [3600, 60, 'About a minute', ' minutes'],
  [48 * 3600, 3600, 'About an hour', ' hours'],
  [14 * 86400, 86400, '', ' days'],
  [60 * 86400, 7 * 86400, '', ' weeks'],
  [730 * 86400, 30 * 86400, '', ' months'],
]

/** `5 minutes`, `About an hour`: as go-units' HumanDuration. */
const humanDuration = (seconds: number): string => {
  if (seconds < 1) return 'Less than a second'
  if (seconds < 2) return '1 second'
  for (const [limit, size, one, many] of units) {
    if (seconds >= limit) continue
    const count = size === 3600 ? Math.round(seconds / size) : Math.floor(seconds / size)
    return count === 1 && one !== '' && size > 1 ? one : `${count}${many}`
  }
  return `${Math.floor(seconds / (365 * 86400))} years`
}

const secondsSince = (text: string): number =>
  (Date.now() - Number((parseTime(text) ?? 0n) / 1_000_000n)) / 1000

const healthWord = (container: Container): string => {
  const status = container.record.state.health?.Status ?? 'none'
  if (status === 'none') return ''
  return status === 'starting' ? ' (health: starting)' : ` (${status})`
}

/** `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`: the STATUS column. */
export const statusText = (container: Container): string => {
  const { state } = container.record
  switch (state.status) {
    case 'running':
      return `Up ${humanDuration(secondsSince(state.startedAt))}${healthWord(container)}`
    case 'paused':
      return `Up ${humanDuration(secondsSince(state.startedAt))} (Paused)`
    case 'restarting':
      return `Restarting (${state.exitCode}) ${humanDuration(secondsSince(state.finishedAt))} ago`
    case 'removing':
      return 'Removal In Progress'
    case 'dead':
      return 'Dead'
    default:
      return state.finishedAt === zeroTime
        ? 'Created'
        : `Exited (${state.exitCode}) ${humanDuration(secondsSince(state.finishedAt))} ago`
  }
}

/** Engine API `NetworkSettings.Ports`. */
export const portMap = (
  record: ContainerRecord,
): Record<string, { HostIp: string; HostPort: string }[] | null> => {
  const ports: Record<string, { HostIp: string; HostPort: string }[] | null> = {}
  for (const spec of Object.keys(record.config.ExposedPorts ?? {}))
    ports[spec.includes('/') ? spec : `${spec}/tcp`] = null
  for (const { published } of endpointsOf(record))
    for (const port of published) {
      const key = `${port.containerPort}/${port.protocol}`
      ports[key] = [...(ports[key] ?? []), { HostIp: port.hostIp, HostPort: String(port.hostPort) }]
    }
  return ports
}

const endpointsOf = (record: ContainerRecord): Endpoint[] =>
  record.networks.flatMap(({ endpoint }) => (endpoint ? [endpoint] : []))

/** Engine API `Port` of the list. */
export const portList = (record: ContainerRecord): object[] =>
  Object.entries(portMap(record)).flatMap(([spec, bindings]) => {
    const [port, type] = spec.split('/')
    if (!bindings) return [{ PrivatePort: Number(port), Type: type }]
    return bindings.map(({ HostIp, HostPort }) => ({
      IP: HostIp,
      PrivatePort: Number(port),
      PublicPort: Number(HostPort),
      Type: type,
    }))
  })

/** Engine API `MountPoint`. */
export const mountList = (record: ContainerRecord): object[] =>
  record.mounts
    .filter(mount => mount.type !== 'tmpfs' || !(mount.destination in (record.hostConfig.Tmpfs ?? {})))
    .map(mount => ({
      Type: mount.type,
      ...(mount.name ? { Name: mount.name } : {}),
      ...(mount.type === 'volume' ? { Driver: mount.driver ?? 'local' } : {}),
      Source: mount.source,
      Destination: mount.destination,
      Mode: mount.mode,
      RW: mount.readWrite,
      Propagation: mount.type === 'volume' ? '' : mount.propagation,
    }))

/** The command line as users read it: entrypoint and arguments. */
export const commandOf = (record: ContainerRecord): string[] => [
  ...(record.config.Entrypoint ?? []),
  ...(record.config.Cmd ?? []),
]
