import type { Container } from '../containers/container.ts'
import type { Registry } from '../containers/registry.ts'
import type { Engine } from '../engine.ts'

/** Names of the volumes that a container mounts. */
export const volumesOf = (container: Container): string[] => [
  ...new Set(container.record.mounts.flatMap(mount => (mount.type === 'volume' ? [mount.name] : []))),
]

/** The containers that a volume cannot go without. */
export const usersOf = (engine: Engine, name: string): Container[] =>
  engine.containers.all().filter(container => volumesOf(container).includes(name))

/** How many containers use each volume; one that nobody uses is not in it. */
export const userCounts = (engine: Engine): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const container of engine.containers.all())
    for (const name of volumesOf(container)) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** Whether a container runs that may write to it. */
export const isWritten = (containers: Registry, name: string): boolean =>
  containers
    .all()
    .some(
      ({ isAlive, record }) =>
        isAlive &&
        record.mounts.some(mount => mount.type === 'volume' && mount.name === name && mount.readWrite),
    )
