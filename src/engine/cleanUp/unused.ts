import type { Container } from '../containers/container.ts'
import type { Engine } from '../engine.ts'
import { isNamed } from '../networks/removeNetwork.ts'
import { isPredefined } from '../networks/types.ts'
import { anonymousLabel } from '../volumes/types.ts'
import { userCounts } from '../volumes/users.ts'
import type { CleanUpSettings, Unused } from './types.ts'

/** What nobody uses now, of the kinds that have rules. */

const timeOf = (text: string): number => {
  const time = Date.parse(text)
  return Number.isNaN(time) || time < 0 ? 0 : time
}

/** One that is to start again by its policy is not stopped. */
export const isStopped = ({ isRunning, removing, record }: Container): boolean =>
  !isRunning && !removing && record.state.status !== 'restarting'

const containers = (engine: Engine, sized: boolean): Promise<Unused[]> =>
  Promise.all(
    engine.containers
      .all()
      .filter(isStopped)
      .map(async ({ id, record }) => ({
        type: 'container' as const,
        id,
        name: record.name,
        labels: record.config.Labels ?? {},
        lastNeeded: Math.max(timeOf(record.created), timeOf(record.state.finishedAt)),
        bytes: sized ? (await engine.uppers.usage(id)).size : 0,
      })),
  )

const networks = (engine: Engine): Unused[] =>
  engine.networks
    .all()
    .filter(record => !isPredefined(record.name) && !record.configOnly && !isNamed(engine, record))
    .map(({ id, name, labels, created }) => ({
      ...{ type: 'network' as const, id, name, labels, bytes: 0 },
      lastNeeded: engine.lastNeed.of('network', id) ?? timeOf(created),
    }))

/** As a prune does, it leaves volumes with options alone: what they hold is mostly elsewhere. */
const volumes = async (engine: Engine, { named, sized }: { named: boolean; sized: boolean }) => {
  const users = userCounts(engine)
  const unused = engine.volumes
    .all()
    .filter(
      ({ name, options, labels, driver }) =>
        driver === undefined &&
        !users.has(name) &&
        Object.keys(options).length === 0 &&
        (named || anonymousLabel in labels),
    )
  return await Promise.all(
    unused.map(
      async (record): Promise<Unused> => ({
        ...{ type: 'volume', id: record.name, name: record.name, labels: record.labels },
        lastNeeded: engine.lastNeed.of('volume', record.name) ?? timeOf(record.created),
        bytes: sized ? (await engine.volumeUsage.sizeOf(record)).size : 0,
      }),
    ),
  )
}

/** Sizes are measured where a limit of size asks for them. */
export const findUnused = async (engine: Engine, settings: CleanUpSettings): Promise<Unused[]> => {
  const { container, network, volume } = settings
  return [
    ...(container ? await containers(engine, container.maxSize !== undefined) : []),
    ...(network ? networks(engine) : []),
    ...(volume ? await volumes(engine, { named: volume.named, sized: volume.maxSize !== undefined }) : []),
  ]
}
