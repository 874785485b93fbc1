import { readdirSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { hasCode, messageOf } from '../../core/errors.ts'
import { Gate } from '../../core/queue.ts'
import { controllers, groupDirectory, killGroup, removeGroup } from '../../linux/cgroups.ts'
import { connectMonitor, readExitRecord } from '../../runtime/monitor.ts'
import type { ExitRecord, MonitorClient } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import { clearRun } from './clearRun.ts'
import type { Container } from './container.ts'
import { startHealth } from './health.ts'
import { removeAfterExit } from './remove.ts'
import { planRestart } from './restart.ts'
import { startInQueue } from './start.ts'
import { noteStarted, runDirectory } from './state.ts'
import { exitFound, lostRecord } from './supervise.ts'

/**
 * Takes back what an earlier daemon left: containers that run on, ones that
 * ended meanwhile, and whatever a death between two steps left half-done.
 */
const width = 8

/** The monitor of the latest run, where there is one that answers. */
const findMonitor = async (engine: Engine, container: Container): Promise<MonitorClient | undefined> => {
  if (container.record.runs === 0) return undefined
  try {
    return await connectMonitor(runDirectory(engine, container), engine.supervise(container))
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED'))
      engine.log.warn('a monitor could not be reached', { container: container.id, error: messageOf(error) })
    return undefined
  }
}

/** What became of a container while no daemon was there. */
interface Found {
  container: Container
  exit?: ExitRecord
}

const adopt = async (engine: Engine, container: Container, monitor: MonitorClient): Promise<void> => {
  container.monitor = monitor
  const { status } = container.record.state
  if (status === 'paused') {
    container.record.state.pid = monitor.status.pid
    return
  }
  const { oomKilled, health } = container.record.state
  // Started by a daemon that died before it could write that down.
  if (status !== 'running' || container.record.state.pid !== monitor.status.pid) {
    noteStarted(engine, container, monitor.status)
    await engine.containers.save(container)
  }
  container.record.state.oomKilled = oomKilled || monitor.status.oomKilled
  if (health) container.record.state.health = health
}

/** Looks at one container. A monitor that never started anything is let go. */
const findOne = async (engine: Engine, container: Container, bootChanged: boolean): Promise<Found> => {
  const thoughtRunning = container.isRunning
  const monitor = bootChanged ? undefined : await findMonitor(engine, container)
  const exit = monitor?.status.exit ?? readExitRecord(runDirectory(engine, container))
  if (monitor && (monitor.status.phase === 'running' || monitor.status.phase === 'starting')) {
    await adopt(engine, container, monitor)
    return { container }
  }
  if (exit?.phase === 'exited' && (thoughtRunning || monitor)) {
    if (monitor) container.monitor = monitor
    // It may have ended before anybody wrote down that it ran.
    if (!thoughtRunning) container.record.state.status = 'running'
    return { container, exit }
  }
  if (monitor) await monitor.release().catch(() => {})
  if (!thoughtRunning) return { container }
  const record = bootChanged
    ? lostRecord(engine, container, 255, 'the host was restarted')
    : lostRecord(engine, container, 137, 'monitor lost')
  return { container, exit: record }
}

const isListed = (found: Found): boolean => found.exit === undefined && found.container.isRunning

/** Containers whose policy wants them up whenever a daemon starts. */
const wantedAtStart = (container: Container): boolean => {
  const { hostConfig, state } = container.record
  if (container.isRunning || state.status === 'created') return false
  const policy = hostConfig.RestartPolicy?.Name
  return policy === 'always' || (policy === 'unless-stopped' && !state.stoppedByCall)
}

const log = (engine: Engine, container: Container, what: string) => (error: unknown) =>
  engine.log.error(what, { container: container.id, error: messageOf(error) })

/** Kernel objects and directories of containers that do not run or do not exist. */
const sweep = async (engine: Engine): Promise<void> => {
  const { dataRoot, execRoot } = engine.settings
  const running = new Set(
    engine.containers
      .all()
      .filter(container => container.isRunning)
      .map(container => container.id),
  )
  for (const id of await engine.uppers.list()) {
    if (!engine.containers.byId(id)) await engine.uppers.remove(id)
    else if (!running.has(id) && engine.uppers.mounted(id)) await engine.uppers.unmount(id)
  }
  for (const id of await names(path.join(execRoot, 'containers'))) {
    if (running.has(id)) continue
    await releaseStray(engine, path.join(execRoot, 'containers', id))
    await rm(path.join(execRoot, 'containers', id), { recursive: true, force: true })
  }
  for (const id of await names(path.join(dataRoot, 'containers')))
    if (!engine.containers.byId(id))
      await rm(path.join(dataRoot, 'containers', id), { recursive: true, force: true })
  sweepGroups(engine, running)
  for (const runtime of engine.settings.runtimes.values())
    for (const id of await names(runtime.root))
      if (!running.has(id)) await rm(path.join(runtime.root, id), { recursive: true, force: true })
}

const names = async (directory: string): Promise<string[]> => {
  try {
    return await readdir(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Monitors of runs that never came to be, or of containers that are gone. */
const releaseStray = async (engine: Engine, directory: string): Promise<void> => {
  for (const run of await names(directory)) {
    try {
      const monitor = await connectMonitor(path.join(directory, run), {})
      if (monitor.status.phase === 'running') process.kill(monitor.status.pid, 'SIGKILL')
      await monitor.removed().catch(() => {})
      await monitor.release()
      monitor.close()
    } catch (error) {
      if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED'))
        engine.log.debug('a stray monitor could not be released', { directory, error: messageOf(error) })
    }
  }
}

const sweepGroups = (engine: Engine, running: ReadonlySet<string>): void => {
  if (engine.settings.cgroupDriver === 'systemd') return
  const parent = engine.settings.cgroupParent
  const found = new Set<string>()
  for (const controller of controllers) {
    try {
      for (const entry of readdirSync(groupDirectory(parent, controller), { withFileTypes: true }))
        if (entry.isDirectory() && /^[a-f0-9]{64}$/.test(entry.name)) found.add(entry.name)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }
  for (const id of found) {
    if (running.has(id)) continue
    killGroup(path.posix.join(parent, id))
    removeGroup(path.posix.join(parent, id))
  }
}

/** Runs once, before the API answers. Restarts that policies ask for go on after it returns. */
export const restoreContainers = async (engine: Engine, bootChanged: boolean): Promise<void> => {
  await mkdir(path.join(engine.settings.execRoot, 'containers'), { recursive: true, mode: 0o710 })
  const gate = new Gate(width)
  const found = await Promise.all(
    engine.containers.all().map(container => gate.run(() => findOne(engine, container, bootChanged))),
  )
  const running = found.filter(isListed).map(({ container }) => container)
  const lost = await engine.networks.reconcile(running.map(container => container.record))
  for (const id of lost) engine.log.warn('the network of a running container is gone', { container: id })
  await engine.execs.recover(engine)
  const ended = found.flatMap(({ container, exit }) => (exit ? [{ container, exit }] : []))
  await Promise.all(ended.map(({ container, exit }) => gate.run(() => exitFound(engine, container, exit))))
  await Promise.all(
    found
      .filter(({ container, exit }) => !exit && !container.isRunning)
      .map(({ container }) => gate.run(() => tidy(engine, container))),
  )
  await sweep(engine)
  for (const container of running) startHealth(engine, container, true)
  for (const { container } of found) resume(engine, container)
}

/** A start or stop that was cut off left things that belong to no run. */
const tidy = async (engine: Engine, container: Container): Promise<void> => {
  if (container.record.networks.some(({ endpoint }) => endpoint) || engine.uppers.mounted(container.id)) {
    await clearRun(engine, container)
    await engine.containers.save(container)
  }
  if (
    container.record.hostConfig.AutoRemove &&
    container.record.runs > 0 &&
    container.record.state.status === 'exited'
  )
    await removeAfterExit(engine, container)
}

const resume = (engine: Engine, container: Container): void => {
  if (container.restartTimer || container.removing) return
  if (container.record.state.status === 'restarting') {
    planRestart(engine, container)?.()
    return
  }
  if (!wantedAtStart(container)) return
  container.queue
    .run(() => startInQueue(engine, container))
    .catch(log(engine, container, 'start by restart policy failed'))
}
