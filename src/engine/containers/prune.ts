import { parseTime } from '../../core/clock.ts'
import { Filters } from '../../wire/filters.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { removeStopped } from './remove.ts'

/** `POST /containers/prune` */
export const pruneContainers = async (
  engine: Engine,
  filterText: string | undefined,
  operation: Operation,
): Promise<{ ContainersDeleted: string[]; SpaceReclaimed: number }> => {
  const filters = Filters.parse(filterText, ['until', 'label', 'label!'])
  const until = filters.get('until').map(parseTimestamp)
  const deleted: string[] = []
  let space = 0
  for (const container of engine.containers.all()) {
    const { record } = container
    const created = parseTime(record.created) ?? 0n
    if (container.isRunning || record.state.status === 'restarting' || until.some(limit => created >= limit))
      continue
    if (!filters.labels('label', record.config.Labels)) continue
    if (filters.has('label!') && filters.labels('label!', record.config.Labels)) continue
    operation.at(`removing ${record.name}`)
    const freed = await removeStopped(engine, container)
    if (freed === undefined) continue
    deleted.push(container.id)
    space += freed
  }
  engine.events.publish('container', 'prune', '', { reclaimed: String(space) })
  return { ContainersDeleted: deleted, SpaceReclaimed: space }
}
