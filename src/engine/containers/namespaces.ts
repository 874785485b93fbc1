import { badRequest, conflict, internal } from '../../core/errors.ts'
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

/** The container whose network another one shares. Errors: in Docker's words. */
const networkPartner = async (engine: Engine, record: ContainerRecord): Promise<Container> => {
  const name = (record.hostConfig.NetworkMode ?? '').slice(prefix.length)
  const other = engine.containers.find(name)
  if (!other) throw internal(`joining network namespace of container: No such container: ${name}`)
  if (other.id === record.id) throw internal('cannot join own network namespace')
  if (!(await running(engine, other)))
    throw conflict(
      `cannot join network namespace of a non running container: container ${other.record.name} is ${other.record.state.status}`,
    )
  return other
}

const partner = async (engine: Engine, mode: string, kind: 'IPC' | 'PID'): Promise<Container> => {
  const name = mode.slice(prefix.length)
  const other = engine.containers.find(name)
  if (!other) throw badRequest(`failed to join ${kind} namespace: No such container: ${name}`)
  if (!(await running(engine, other)))
    throw conflict(`failed to join ${kind} namespace: container ${name} is not running`)
  return other
}

const namespaceFile = (container: Container, name: string): string =>
  `/proc/${container.record.state.pid}/ns/${name}`

/** Errors: `conflict` where the other container does not run. */
export const joinedNamespaces = async (
  engine: Engine,
  record: ContainerRecord,
): Promise<Partial<Record<SpecNamespace['type'], string>>> => {
  const { NetworkMode: network = '', PidMode: pid = '', IpcMode: ipc = '' } = record.hostConfig
  const join: Partial<Record<SpecNamespace['type'], string>> = {}
  if (network.startsWith(prefix)) join.network = namespaceFile(await networkPartner(engine, record), 'net')
  else if (network !== 'host') join.network = engine.connections.sandboxPath(record.id)
  if (pid.startsWith(prefix)) join.pid = namespaceFile(await partner(engine, pid, 'PID'), 'pid')
  if (ipc.startsWith(prefix)) {
    const other = await partner(engine, ipc, 'IPC')
    if (other.record.hostConfig.IpcMode !== 'shareable')
      throw badRequest(
        `failed to join IPC namespace: container ${other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
      )
    join.ipc = namespaceFile(other, 'ipc')
  }
  return join
}

/** Who shares another container's network bears its name, too. Errors: as `networkPartner`. */
export const takePartnersName = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  if (!record.hostConfig.NetworkMode?.startsWith(prefix)) return
  const { Hostname = '', Domainname = '' } = (await networkPartner(engine, record)).record.config
  Object.assign(record.config, { Hostname, Domainname })
}
