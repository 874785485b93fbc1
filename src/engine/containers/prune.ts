import { parseTime } from '../../core/clock.ts'
import { Filters } from '../../wire/filters.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { removeIfStopped } from './remove.ts'

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
    if (container.isRunning || container.removing || record.state.status === 'restarting') continue
    if (until.some(limit => created >= limit)) continue
    if (!filters.labels('label', record.config.Labels)) continue
    if (filters.has('label!') && filters.labels('label!', record.config.Labels)) continue
    operation.at(`removing ${record.name}`)
    const { size } = await engine.uppers.usage(container.id)
    if (!(await removeIfStopped(engine, container))) continue
    deleted.push(container.id)
    space += size
  }
  engine.events.publish('container', 'prune', '', { reclaimed: String(space) })
  return { ContainersDeleted: deleted, SpaceReclaimed: space }
}
