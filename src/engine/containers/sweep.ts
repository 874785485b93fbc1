import { readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { hasCode, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { killGroup, removeGroup } from '../../linux/cgroups.ts'
import { connectMonitor } from '../../runtime/monitor.ts'
import type { Engine } from '../engine.ts'
import { sharedShm } from './files.ts'
import { groupsOfContainers } from './groups.ts'
import { ownerOfUpper } from './imageMounts.ts'
import { sweepVolumes } from './runVolumes.ts'
import { unmountSharedShm } from './sharedMemory.ts'

/** Takes away what no living run owns: each object carries its owner's id in its name. */

const names = async (directory: string): Promise<string[]> => {
  try {
    return await readdir(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Ends the monitor of a run directory that nobody owns, with what it runs; none is fine. */
export const releaseStray = async (engine: Engine, runDirectory: string): Promise<void> => {
  try {
    const ended = Promise.withResolvers<void>()
    const monitor = await connectMonitor(runDirectory, {
      exited: () => ended.resolve(),
      closed: ended.resolve,
    })
    const { phase, pid } = monitor.status
    if (phase === 'running' && pid > 0) process.kill(pid, 'SIGKILL')
    if (phase === 'starting' || phase === 'running') await ended.promise
    await monitor.removed().catch(() => {})
    await monitor.release()
    monitor.close()
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED'))
      engine.log.warn('a stray monitor could not be released', {
        directory: runDirectory,
        error: messageOf(error),
      })
  }
}

const sweepUppers = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  // Also where nothing is mounted: the mount point may be there.
  const places = new Set(engine.uppers.places())
  for (const id of await engine.uppers.list()) {
    try {
      const owner = ownerOfUpper(id)
      if (!engine.containers.byId(owner)) await engine.uppers.remove(id)
      else if (places.has(id) && !alive.has(owner)) await engine.uppers.unmount(id)
    } catch (error) {
      // One mount that hangs must not keep the daemon from starting.
      engine.log.error('a root filesystem could not be taken away', {
        container: id,
        error: messageOf(error),
      })
    }
  }
}

/** A group below a parent of its own (`--cgroup-parent` of a build, whose steps have no records): only the specification tells. */
const sweepGroupElsewhere = async (runDirectory: string, id: string): Promise<void> => {
  const spec = await readFile(path.join(runDirectory, 'config.json'), 'utf8').catch(() => '')
  const [, group] = /"cgroupsPath":"(\/[^"\\]+)"/.exec(spec) ?? []
  if (group === undefined || path.posix.basename(group) !== id) return
  killGroup(group)
  removeGroup(group)
}

const sweepRunDirectories = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  const folder = path.join(engine.settings.execRoot, 'containers')
  for (const id of await names(folder)) {
    if (alive.has(id)) continue
    for (const run of await names(path.join(folder, id))) {
      await releaseStray(engine, path.join(folder, id, run))
      await sweepGroupElsewhere(path.join(folder, id, run), id)
    }
    await rm(path.join(folder, id), { recursive: true, force: true })
  }
}

const sweepShm = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  for (const id of await names(path.dirname(sharedShm(engine, 'any'))))
    if (!alive.has(id)) unmountSharedShm(engine, id)
}

const sweepFiles = async (engine: Engine): Promise<void> => {
  const folder = path.join(engine.settings.dataRoot, 'containers')
  for (const id of await names(folder))
    if (!engine.containers.byId(id)) await rm(path.join(folder, id), { recursive: true, force: true })
}

const sweepGroups = (engine: Engine, alive: ReadonlySet<string>): void => {
  for (const { id, group } of groupsOfContainers(engine.settings)) {
    if (alive.has(id)) continue
    killGroup(group)
    removeGroup(group)
  }
}

const sweepRuntimes = async (engine: Engine, alive: ReadonlySet<string>): Promise<void> => {
  // crun keeps its seccomp programs in `.cache`.
  for (const runtime of engine.settings.runtimes.values())
    for (const id of await names(runtime.root))
      if (!alive.has(id) && !id.startsWith('.'))
        await rm(path.join(runtime.root, id), { recursive: true, force: true })
}

/** Kernel objects and directories of containers that do not run or do not exist. Nothing may start meanwhile. */
export const sweep = async (engine: Engine): Promise<void> => {
  const alive = new Set(
    engine.containers.all().flatMap(container => (container.isAlive ? [container.id] : [])),
  )
  // Processes first: they hold mounts and groups.
  sweepGroups(engine, alive)
  failpoint('sweep.groups')
  await sweepRunDirectories(engine, alive)
  failpoint('sweep.runs')
  await sweepUppers(engine, alive)
  failpoint('sweep.uppers')
  await sweepVolumes(engine, alive)
  await sweepShm(engine, alive)
  await sweepFiles(engine)
  await sweepRuntimes(engine, alive)
  sweepGroups(engine, alive)
}
