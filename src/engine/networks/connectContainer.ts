import { UndoStack } from '../../core/disposal.ts'
import { BerthError, badRequest, conflict, forbidden } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { addressesOf } from '../../net/addressBook.ts'
import type { EndpointSettings } from '../../wire/container.ts'
import type { Container } from '../containers/container.ts'
import { addHostsAddress, removeHostsAddress, writeResolvConf } from '../containers/files.ts'
import { tellLinking } from '../containers/openLinks.ts'
import type { NetworkAttachment } from '../containers/types.ts'
import type { Engine } from '../engine.ts'
import { attachmentOf, isAttachedTo } from './attachments.ts'
import { hasNames } from './names.ts'
import type { NetworkRecord } from './types.ts'

/** `docker network connect` and `disconnect`, of containers that run and of those that do not. */

const ownsNamespace = (container: Container): boolean => {
  const mode = container.record.hostConfig.NetworkMode ?? ''
  return mode !== 'host' && !mode.startsWith('container:')
}

const checkJoinable = (container: Container, network: NetworkRecord): void => {
  if (container.removing || container.record.state.status === 'dead')
    throw conflict(
      `Container ${container.id} is marked for removal and cannot be connected or disconnected to the network`,
    )
  if (network.configOnly) throw forbidden('cannot create endpoint on configuration-only network')
  if (network.driver === 'host')
    throw badRequest(
      'cannot connect container to host network - container must be created in host network mode',
    )
  if (!ownsNamespace(container))
    throw badRequest(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    )
}

const attachedTo = (container: Container, network: NetworkRecord): NetworkAttachment | undefined =>
  container.record.networks.find(attachment => isAttachedTo(attachment, network))

const checkAlone = (container: Container, network: NetworkRecord): void => {
  const others = container.record.networks
  if (
    others.length > 0 &&
    (network.driver === 'null' || others.some(({ networkName }) => networkName === 'none'))
  )
    throw badRequest(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    )
}

/** Durable when it settles. Errors: `bad-request`, `forbidden` where it is on the network already, those of the network layer. */
export const connectContainer = (
  engine: Engine,
  container: Container,
  { network, settings }: { network: NetworkRecord; settings: EndpointSettings },
): Promise<void> =>
  container.queue.run(async () => {
    checkJoinable(container, network)
    const { record } = container
    const attachment = attachmentOf(network.name, network, settings)
    if (attachedTo(container, network)) {
      if (!container.isRunning) return
      throw forbidden(`endpoint with name ${record.name} already exists in network ${network.name}`)
    }
    checkAlone(container, network)
    await using undo = new UndoStack((step, error) =>
      engine.log.error(`undo of connect: ${step}`, { container: container.id, error }),
    )
    if (container.isRunning) {
      // Last of all: what links to it must not go on leading to an address that is another's by then.
      undo.push('links', () => tellLinking(engine, container))
      await joinRunning(engine, container, { attachment, undo })
      tellLinking(engine, container)
    } else {
      record.networks.push(attachment)
      undo.push('record', () => void record.networks.splice(record.networks.indexOf(attachment), 1))
    }
    failpoint('network.connect.made')
    await engine.containers.save(container, { durable: true })
    failpoint('network.connect.recorded')
    undo.commit()
  })

const joinRunning = async (
  engine: Engine,
  { record }: Container,
  { attachment, undo }: { attachment: NetworkAttachment; undo: UndoStack },
): Promise<void> => {
  // Last of all: it is written by what the record has then.
  undo.push('resolv.conf', () => writeResolvConf(engine, record))
  await engine.metrics.timeNetwork('connect', engine.connections.join(record, attachment))
  undo.push('endpoint', () => engine.connections.part(record, attachment))
  if (hasNames(attachment)) writeResolvConf(engine, record)
  const addresses = attachment.endpoint ? addressesOf(attachment.endpoint) : []
  for (const address of addresses) addHostsAddress(engine, record, address)
  undo.push('hosts', () => {
    for (const address of addresses) removeHostsAddress(engine, record, address)
  })
}

/** Durable when it settles. Errors: `not-connected`, `bad-request`. */
export const disconnectContainer = (
  engine: Engine,
  container: Container,
  network: NetworkRecord,
): Promise<void> =>
  container.queue.run(async () => {
    const { record } = container
    const attachment = attachedTo(container, network)
    if (!attachment)
      throw new BerthError(
        'not-connected',
        500,
        `container ${container.id} is not connected to network ${network.name}`,
      )
    if (network.driver === 'host')
      throw badRequest(
        'cannot disconnect container from host network - container was created in host network mode',
      )
    const addresses = attachment.endpoint ? addressesOf(attachment.endpoint) : []
    if (container.isRunning) {
      await engine.connections.part(record, attachment)
      tellLinking(engine, container)
    } else record.networks.splice(record.networks.indexOf(attachment), 1)
    failpoint('network.disconnect.made')
    if (container.isRunning) for (const address of addresses) removeHostsAddress(engine, record, address)
    if (container.isRunning && hasNames(attachment)) writeResolvConf(engine, record)
    await engine.containers.save(container, { durable: true })
    failpoint('network.disconnect.recorded')
    engine.lastNeed.note('network', [network.id])
  })
