import path from 'node:path'
import { type BerthError, badRequest, internal } from '../../core/errors.ts'
import type { LinkedPort } from '../../net/types.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { isPredefined } from '../networks/types.ts'
import type { Container } from './container.ts'
import type { ContainerLink, ContainerRecord } from './types.ts'

/**
 * `--link` on the default bridge, where there are no names: the linking container finds the linked one in its
 * /etc/hosts, and reaches its exposed ports where the bridge lets nobody reach anybody (`--icc=false`). Links are in
 * the linking container's record, and end with either of both. On other networks they are names (networks/names.ts).
 */

/** `name`, `name:alias`, or, as inspect shows it, `/name:/parent/alias`. Errors: `bad-request`. */
const parseLink = (text: string): { name: string; alias: string } => {
  if (text === '') throw badRequest('empty string specified for links')
  const [name = '', alias, ...more] = text.split(':')
  if (more.length > 0) throw badRequest(`bad format for links: ${text}`)
  if (alias === undefined) return { name, alias: name }
  return name.startsWith('/') ? { name: name.slice(1), alias: path.basename(alias) } : { name, alias }
}

const linked = (engine: Engine, reference: string): Container => {
  try {
    return engine.containers.get(reference)
  } catch (error) {
    throw badRequest(
      `could not get container for ${reference}: ${error instanceof Error ? error.message : error}`,
      error,
    )
  }
}

/** Whose network a container has: its own, or that of the one it shares with. */
const networkOwner = (engine: Engine, container: Container): Container => {
  const mode = container.record.hostConfig.NetworkMode ?? ''
  return mode.startsWith('container:')
    ? networkOwner(engine, linked(engine, mode.slice('container:'.length)))
    : container
}

const undefinedBehaviour = (kind: string): BerthError =>
  badRequest(
    `conflicting options: ${kind} type networking can't be used with links. This would result in undefined behavior`,
  )

/** Links of a container that is being made. Errors: `bad-request`. */
export const decideLinks = (engine: Engine, { Links: texts = [], NetworkMode: mode = '' }: HostConfig) => {
  const links = new Map<string, ContainerLink>()
  if (texts.length === 0) return []
  if (mode === 'host') throw undefinedBehaviour('host')
  if (mode.startsWith('container:'))
    throw badRequest(
      "conflicting options: container type network can't be used with links. This would result in undefined behavior",
    )
  // Elsewhere they are names, and belong to the network's attachment.
  if (!isPredefined(mode)) return []
  for (const text of texts) {
    const { name, alias } = parseLink(text)
    const { id, record } = networkOwner(engine, linked(engine, name))
    if (record.hostConfig.NetworkMode === 'host') throw undefinedBehaviour('host')
    if (!links.has(alias)) links.set(alias, { alias, id })
  }
  return [...links.values()]
}

/** `/parent/alias`, under which Docker shows the linked container. */
export const linkName = (parent: ContainerRecord, { alias }: ContainerLink): string =>
  `/${parent.name}/${alias}`

/** All names of a container: its own, and those that others' links give it. */
export const allNames = (engine: Engine, { id, record }: Container): string[] => [
  `/${record.name}`,
  ...engine.containers
    .linking(id)
    .flatMap(parent =>
      (parent.record.links ?? []).filter(link => link.id === id).map(link => linkName(parent.record, link)),
    ),
]

/** Engine API `HostConfig.Links`, of links whose containers are there. */
export const linkTexts = (engine: Engine, record: ContainerRecord): string[] | null => {
  const texts = targets(engine, record).map(
    ({ link, target }) => `/${target.record.name}:${linkName(record, link)}`,
  )
  return texts.length > 0 ? texts : null
}

const targets = (engine: Engine, record: ContainerRecord): { link: ContainerLink; target: Container }[] =>
  (record.links ?? []).flatMap(link => {
    const target = engine.containers.byId(link.id)
    return target ? [{ link, target }] : []
  })

/** Where a container is on the default bridge. */
export const addressOf = ({ record }: Container): string | undefined =>
  record.networks.find(({ networkName }) => networkName === 'bridge')?.endpoint?.ipv4

const onBridge = ({ networks }: ContainerRecord): boolean =>
  networks.some(({ networkName }) => networkName === 'bridge')

/** Before a start. Errors: `not-linkable`, in Docker's words. */
export const checkLinks = (engine: Engine, record: ContainerRecord): void => {
  if (!onBridge(record)) return
  for (const { link, target } of targets(engine, record)) {
    if (!target.isRunning)
      throw internal(
        `Cannot link to a non running container: /${target.record.name} AS ${linkName(record, link)}`,
      )
    if (!onBridge(target.record))
      throw internal(`Cannot link to /${target.record.name}, as it does not belong to the default network`)
  }
}

/** Under which names a linking container finds a linked one. */
export const hostNames = ({ alias }: ContainerLink, { record }: Container): string[] => [
  ...new Set([alias, record.config.Hostname ?? '', record.name].filter(Boolean)),
]

/** Lines of /etc/hosts for what a container links to. */
export const linkedHosts = (engine: Engine, record: ContainerRecord): { name: string; address: string }[] =>
  onBridge(record)
    ? targets(engine, record).flatMap(({ link, target }) => {
        const address = addressOf(target)
        return address ? [{ name: hostNames(link, target).join(' '), address }] : []
      })
    : []

const exposed = ({ config, ports }: ContainerRecord): { port: number; protocol: string }[] => {
  const specs = [
    ...Object.keys(config.ExposedPorts ?? {}),
    ...ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`),
  ].map(spec => (spec.includes('/') ? spec : `${spec}/tcp`))
  return [...new Set(specs)].map(spec => {
    const [port, protocol = 'tcp'] = spec.split('/')
    return { port: Number(port), protocol }
  })
}

/** Ports that a container reaches by its links. */
export const linkedPorts = (engine: Engine, record: ContainerRecord): LinkedPort[] =>
  targets(engine, record).flatMap(({ target }) => {
    const ipv4 = addressOf(target)
    if (!ipv4) return []
    return exposed(target.record).flatMap(({ port, protocol }) =>
      protocol === 'tcp' || protocol === 'udp' ? [{ ipv4, protocol, port } as const] : [],
    )
  })

const hidden = new Set(['HOME', 'PATH'])

const variablesOf = (record: ContainerRecord, link: ContainerLink, target: Container): string[] => {
  const prefix = link.alias.replaceAll('-', '_').toUpperCase()
  const address = addressOf(target) ?? ''
  const ports = exposed(target.record).toSorted(
    (a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1),
  )
  const [first] = ports
  const url = ({ port, protocol }: { port: number; protocol: string }): string =>
    `${protocol}://${address}:${port}`
  return [
    ...(first ? [`${prefix}_PORT=${url(first)}`] : []),
    ...ports.flatMap(one => {
      const name = `${prefix}_PORT_${one.port}_${one.protocol.toUpperCase()}`
      return [
        `${name}=${url(one)}`,
        `${name}_ADDR=${address}`,
        `${name}_PORT=${one.port}`,
        `${name}_PROTO=${one.protocol}`,
      ]
    }),
    `${prefix}_NAME=${linkName(record, link)}`,
    ...(target.record.config.Env ?? [])
      .filter(entry => entry.includes('=') && !hidden.has(entry.split('=', 1)[0] ?? ''))
      .map(entry => `${prefix}_ENV_${entry}`),
  ]
}

/** The variables that links gave before networks had names, where the daemon was told to keep them. */
export const linkVariables = (engine: Engine, record: ContainerRecord): string[] =>
  engine.settings.linkVariables && onBridge(record)
    ? targets(engine, record).flatMap(({ link, target }) => variablesOf(record, link, target))
    : []
