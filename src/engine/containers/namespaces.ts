import { badRequest, conflict } from '../../core/errors.ts'
import type { SpecNamespace } from '../../oci/runtimeSpec.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { settleExit } from './state.ts'
import type { ContainerRecord } from './types.ts'

/** Namespaces that a container joins instead of making them: its own prepared network, and those of `container:` modes. */

const prefix = 'container:'

const partner = async (engine: Engine, record: ContainerRecord, mode: string): Promise<Container> => {
  const other = engine.containers.get(mode.slice(prefix.length))
  if (other.id === record.id) throw badRequest('cannot join own namespace')
  await settleExit(engine, other)
  if (!other.isRunning)
    throw conflict(`cannot join network namespace of a non running container: ${other.id}`)
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
  if (network.startsWith(prefix)) join.network = namespaceFile(await partner(engine, record, network), 'net')
  else if (network !== 'host') join.network = engine.networks.sandboxPath(record.id)
  if (pid.startsWith(prefix)) join.pid = namespaceFile(await partner(engine, record, pid), 'pid')
  if (ipc.startsWith(prefix)) {
    const other = await partner(engine, record, ipc)
    if (other.record.hostConfig.IpcMode !== 'shareable')
      throw badRequest(
        `cannot join IPC of container ${other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
      )
    join.ipc = namespaceFile(other, 'ipc')
  }
  return join
}
