import { parseTime } from '../../core/clock.ts'
import { BerthError, forbidden } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { Filters } from '../../wire/filters.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import type { Engine } from '../engine.ts'
import { isAttachedTo } from './attachments.ts'
import { isPredefined, type NetworkRecord } from './types.ts'

const checkUnused = (engine: Engine, { id, name, configOnly }: NetworkRecord): void => {
  const users = engine.connections
    .users(id)
    .map(user => `name:"${engine.containers.byId(user)?.record.name ?? ''}" id:"${user.slice(0, 12)}"`)
  if (users.length > 0)
    throw forbidden(
      `error while removing network: network ${name} has active endpoints (${users.join(', ')})`,
    )
  if (configOnly && engine.networks.all().some(({ configFrom }) => configFrom === name))
    throw forbidden(`error while removing network: configuration network "${name}" is in use`)
}

/**
 * `DELETE /networks/{id}`. Containers that are not running may still name it: they find it gone when they start.
 * What a death leaves in the kernel, the next start takes away.
 */
export const removeNetwork = async (engine: Engine, record: NetworkRecord): Promise<void> => {
  if (isPredefined(record.name))
    throw forbidden(`${record.name} is a pre-defined network and cannot be removed`)
  checkUnused(engine, record)
  await engine.networks.delete(record)
  failpoint('network.remove.recorded')
  if (record.bridge) engine.network.removeBridge(record.bridge)
  if (!record.configOnly)
    engine.events.publish('network', 'destroy', record.id, { name: record.name, type: record.driver })
}

/** `POST /networks/prune`: networks that no container is on or names. Gives their names. */
export const pruneNetworks = async (engine: Engine, filterText: string | undefined): Promise<string[]> => {
  const filters = Filters.parse(filterText, ['until', 'label', 'label!'])
  const until = filters.get('until').map(parseTimestamp)
  const removed: string[] = []
  const isWanted = ({ created, labels }: NetworkRecord): boolean =>
    !until.some(limit => (parseTime(created) ?? 0n) >= limit) &&
    filters.labels('label', labels) &&
    !(filters.has('label!') && filters.labels('label!', labels))
  for (const record of engine.networks.all()) {
    if (isPredefined(record.name) || record.configOnly || isNamed(engine, record) || !isWanted(record))
      continue
    try {
      await removeNetwork(engine, record)
      removed.push(record.name)
    } catch (error) {
      // A container came to use it meanwhile.
      if (!(error instanceof BerthError && error.status === 403)) throw error
    }
  }
  engine.events.publish('network', 'prune', '', { reclaimed: '0' })
  return removed
}

/** A container, running or not, is set to be on it. */
export const isNamed = (engine: Engine, network: NetworkRecord): boolean =>
  engine.containers
    .all()
    .some(({ record }) => record.networks.some(attachment => isAttachedTo(attachment, network)))
