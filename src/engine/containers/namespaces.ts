import { readlinkSync } from 'node:fs'
import { badRequest, conflict, internal } from '../../core/errors.ts'
import { sameMaps } from '../../linux/idMaps.ts'
import type { SandboxOwner } from '../../net/types.ts'
import type { SpecNamespace } from '../../oci/runtimeSpec.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { settleExit } from './state.ts'
import type { ContainerRecord } from './types.ts'

/** Namespaces that a container joins instead of making them: its own prepared network, and those of `container:` modes. */

const prefix = 'container:'

const running = async (engine: Engine, other: Container): Promise<boolean> => {
  await settleExit(engine, other)
  return other.isRunning
}

const restarting = (name: string): string =>
  `Container ${name} is restarting, wait until the container is running`

/** The container whose network another one shares. Errors: in Docker's words. */
const networkPartner = async (engine: Engine, record: ContainerRecord): Promise<Container> => {
  const name = (record.hostConfig.NetworkMode ?? '').slice(prefix.length)
  const other = engine.containers.find(name)
  if (!other) throw internal(`joining network namespace of container: No such container: ${name}`)
  if (other.id === record.id) throw internal('cannot join own network namespace')
  const isRunning = await running(engine, other)
  if (other.record.state.status === 'restarting')
    throw conflict(`cannot join network namespace of container: ${restarting(name)}`)
  if (!isRunning)
    throw conflict(
      `cannot join network namespace of a non running container: container ${other.record.name} is ${other.record.state.status}`,
    )
  return other
}

const partner = async (engine: Engine, mode: string, kind: 'IPC' | 'PID'): Promise<Container> => {
  const name = mode.slice(prefix.length)
  const other = engine.containers.find(name)
  if (!other) throw badRequest(`failed to join ${kind} namespace: No such container: ${name}`)
  const isRunning = await running(engine, other)
  if (other.record.state.status === 'restarting')
    throw conflict(`failed to join ${kind} namespace: ${restarting(name)}`)
  if (!isRunning) throw conflict(`failed to join ${kind} namespace: container ${name} is not running`)
  return other
}

const namespaceFile = (container: Container, name: string): string =>
  `/proc/${container.record.state.pid}/ns/${name}`

type Shared = 'network' | 'pid' | 'ipc'

/** The containers whose namespaces one joins. Errors: `conflict` where one of them does not run. */
const partnersOf = async (
  engine: Engine,
  record: ContainerRecord,
): Promise<Partial<Record<Shared, Container>>> => {
  const { NetworkMode: network = '', PidMode: pid = '', IpcMode: ipc = '' } = record.hostConfig
  const partners: Partial<Record<Shared, Container>> = {}
  if (network.startsWith(prefix)) partners.network = await networkPartner(engine, record)
  if (pid.startsWith(prefix)) partners.pid = await partner(engine, pid, 'PID')
  if (ipc.startsWith(prefix)) {
    const other = await partner(engine, ipc, 'IPC')
    if (other.record.hostConfig.IpcMode !== 'shareable')
      throw badRequest(
        `failed to join IPC namespace: container ${other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
      )
    partners.ipc = other
  }
  return partners
}

/** Of two user namespaces neither can do anything with what the other one owns. */
const sharedUserNamespace = (
  { idMaps }: ContainerRecord,
  partners: Partial<Record<Shared, Container>>,
): string | undefined => {
  const joined = Object.entries(partners)
  for (const [kind, { record }] of joined)
    if (!sameMaps(record.idMaps, idMaps))
      throw badRequest(
        `cannot join the ${kind} namespace of container ${record.name}: ${record.idMaps ? 'its user namespace has other maps: make it anew' : 'it runs in the user namespace of the host: use --userns=host for this container, too'}`,
      )
  const files = joined.map(([, other]) => namespaceFile(other, 'user'))
  if (new Set(files.map(file => readlinkSync(file))).size > 1)
    throw badRequest(
      'cannot join namespaces of containers that run in different user namespaces: use --userns=host for all of them',
    )
  return files[0]
}

/**
 * Who is to own a container's network namespace, if it gets one: the user
 * namespace of those whose namespaces it joins, or one of its own. Undefined
 * where it has none. Errors: as `joinedNamespaces`.
 */
export const namespaceOwner = async (
  engine: Engine,
  record: ContainerRecord,
): Promise<SandboxOwner | undefined> => {
  if (!record.idMaps) return undefined
  const namespace = sharedUserNamespace(record, await partnersOf(engine, record))
  return namespace === undefined ? { maps: record.idMaps } : { namespace }
}

/** Errors: `conflict` where the other container does not run, `bad-request` where it cannot be joined. */
export const joinedNamespaces = async (
  engine: Engine,
  record: ContainerRecord,
): Promise<Partial<Record<SpecNamespace['type'], string>>> => {
  const partners = await partnersOf(engine, record)
  const join: Partial<Record<SpecNamespace['type'], string>> = {}
  if (record.idMaps)
    join.user = sharedUserNamespace(record, partners) ?? engine.connections.userNamespacePath(record.id)
  if (partners.network) join.network = namespaceFile(partners.network, 'net')
  else if (record.hostConfig.NetworkMode !== 'host') join.network = engine.connections.sandboxPath(record.id)
  if (partners.pid) join.pid = namespaceFile(partners.pid, 'pid')
  if (partners.ipc) join.ipc = namespaceFile(partners.ipc, 'ipc')
  return join
}

/** Who shares another container's network bears its name, too. Errors: as `networkPartner`. */
export const takePartnersName = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  if (!record.hostConfig.NetworkMode?.startsWith(prefix)) return
  const { Hostname = '', Domainname = '' } = (await networkPartner(engine, record)).record.config
  Object.assign(record.config, { Hostname, Domainname })
}
