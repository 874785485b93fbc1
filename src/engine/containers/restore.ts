import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { formatNanos } from '../../core/clock.ts'
import { hasCode, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { Gate } from '../../core/queue.ts'
import { connectMonitor, readExitRecord } from '../../runtime/monitor.ts'
import type { ExitRecord, MonitorClient } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import { clearRun } from './clearRun.ts'
import type { Container } from './container.ts'
import { hostRestarted, monitorLost, noteEnding } from './ends.ts'
import { followStart } from './followStart.ts'
import { containerGroup, isFrozen } from './groups.ts'
import { startHealth } from './health.ts'
import { openLinks } from './openLinks.ts'
import { removeAfterExit, resumeRemoval } from './remove.ts'
import { neededStarts, ownStart, planRestart } from './restart.ts'
import { startInQueue } from './start.ts'
import { noteStarted, runDirectory } from './state.ts'
import { killAndWait, unpauseContainer } from './stop.ts'
import { exitFound, lostRecord } from './supervise.ts'
import { sweep } from './sweep.ts'

/**
 * Takes back what an earlier daemon left: containers that run on, ones that
 * ended meanwhile, and whatever a death between two steps left half-done.
 */
const width = 8

/** A monitor, and the end of the start that was under way when it was found. */
interface FoundMonitor {
  monitor: MonitorClient
  settled: Promise<void>
}

/** The monitor of the latest run, where there is one that answers. */
const findMonitor = async (engine: Engine, container: Container): Promise<FoundMonitor | undefined> => {
  if (container.record.runs === 0) return undefined
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  const events = engine.supervise(container)
  const settles =
    <T extends unknown[]>(tell: (...args: T) => void) =>
    (...args: T): void => {
      tell(...args)
      resolve()
    }
  try {
    const monitor = await connectMonitor(runDirectory(engine, container), {
      ...events,
      started: settles(events.started),
      exited: settles(events.exited),
      closed: settles(events.closed),
    })
    return { monitor, settled }
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED'))
      engine.log.warn('a monitor could not be reached', { container: container.id, error: messageOf(error) })
    return undefined
  }
}

/** What became of a container while no daemon was there. */
interface Found {
  container: Container
  /** An end that nobody took note of yet. */
  exit?: ExitRecord
  /** The monitor of a run that is over, or never was: to be let go when its things are cleared away. */
  leftover?: MonitorClient
}

const log = (engine: Engine, container: Container, what: string) => (error: unknown) =>
  engine.log.error(what, { container: container.id, error: messageOf(error) })

/** A full disk keeps no daemon from starting: what was found out can be found out again. */
const saveIfPossible = (engine: Engine, container: Container): Promise<void> =>
  engine.containers.save(container).catch(log(engine, container, 'its state could not be recorded'))

/** A container that runs on. Started or paused by a daemon that died before it could write that down, too. */
const adopt = async (engine: Engine, container: Container, monitor: MonitorClient): Promise<void> => {
  container.monitor = monitor
  const { pid, oomKilled, health } = container.record.state
  if (!container.isRunning || pid !== monitor.status.pid) {
    noteStarted(engine, container, monitor.status)
    if (health) container.record.state.health = health
  }
  const { state } = container.record
  state.oomKilled = oomKilled || monitor.status.oomKilled
  state.status = isFrozen(containerGroup(engine.settings, container.record).group) ? 'paused' : 'running'
  await saveIfPossible(engine, container)
}

/** False where an earlier daemon wrote this very end down already. */
const isNews = (container: Container, exit: ExitRecord): boolean =>
  container.isRunning || formatNanos(exit.finishedAt) !== container.record.state.finishedAt

/** Looks at one container. */
const findOne = async (engine: Engine, container: Container, bootChanged: boolean): Promise<Found> => {
  if (container.record.runs === 0 && !container.isRunning) return { container }
  if (bootChanged) return container.isRunning ? lost(engine, container, bootChanged) : { container }
  const found = await findMonitor(engine, container)
  const phase = found?.monitor.status.phase
  if (found && phase === 'running') {
    await adopt(engine, container, found.monitor)
    return { container }
  }
  if (found && phase === 'starting') {
    followStart(engine, container, found)
    return { container }
  }
  const exit = found?.monitor.status.exit ?? readExitRecord(runDirectory(engine, container))
  if (exit?.phase === 'exited' && isNews(container, exit)) {
    container.monitor = found?.monitor
    // It may have ended before anybody wrote down that it ran.
    if (!container.isRunning) noteStarted(engine, container, { ...exit, phase: 'running' })
    return { container, exit }
  }
  if (container.isRunning) return lost(engine, container, bootChanged)
  return found ? { container, leftover: found.monitor } : { container }
}

const lost = (engine: Engine, container: Container, bootChanged: boolean): Found => ({
  container,
  exit: bootChanged
    ? lostRecord(engine, container, 255, hostRestarted)
    : lostRecord(engine, container, 137, monitorLost),
})

/** Containers whose policy wants them up whenever a daemon starts. */
const wantedAtStart = (container: Container): boolean => {
  const { hostConfig, state } = container.record
  if (container.isAlive || state.status === 'created') return false
  const policy = hostConfig.RestartPolicy?.Name
  return policy === 'always' || (policy === 'unless-stopped' && !state.stoppedByCall)
}

/**
 * What an ended container had in the network is gone already, and its address
 * and ports may be another's: taking them down by its record would hit that one.
 */
const forgetEndpoints = (container: Container): void => {
  for (const attachment of container.record.networks) delete attachment.endpoint
}

/** Brings the kernel's side of the network to what living containers need. */
const reconcileNetwork = async (engine: Engine, living: readonly Found[]): Promise<void> => {
  const gone = await engine.connections.reconcile(living.map(({ container }) => container.record))
  for (const { container } of living) openLinks(engine, container)
  for (const id of gone) engine.log.warn('the network of a running container is gone', { container: id })
}

/** `--live-restore=false`: what a crash left running is ended, and restart policies decide what comes back. */
const endSurvivors = async (engine: Engine, containers: readonly Container[]): Promise<void> => {
  await Promise.all(
    containers
      .filter(({ isRunning }) => isRunning)
      .map(container => {
        const detail = 'it had outlived an earlier daemon, and live-restore is off'
        noteEnding(container, { cause: 'daemon', verb: 'kill', signal: 9, detail })
        return killAndWait(engine, container).catch(log(engine, container, 'a survivor could not be ended'))
      }),
  )
}

/** Runs once, before the API answers. Restarts that policies ask for go on after it returns. */
export const restoreContainers = async (engine: Engine, bootChanged: boolean): Promise<void> => {
  await mkdir(path.join(engine.settings.execRoot, 'containers'), { recursive: true, mode: 0o710 })
  const gate = new Gate(width)
  const found = await Promise.all(
    engine.containers.all().map(container => gate.run(() => findOne(engine, container, bootChanged))),
  )
  failpoint('restore.found')
  for (const { container, exit } of found) container.holdsVolumes = container.isAlive || exit !== undefined
  const living = found.filter(({ exit, container }) => !exit && container.isAlive)
  const ended = found.flatMap(({ container, exit }) => (exit ? [{ container, exit }] : []))
  await reconcileNetwork(engine, living)
  for (const entry of found) if (!living.includes(entry)) forgetEndpoints(entry.container)
  failpoint('restore.network')
  if (!engine.settings.liveRestore)
    await endSurvivors(
      engine,
      living.map(({ container }) => container),
    )
  await engine.execs.recover(engine)
  await Promise.all(ended.map(({ container, exit }) => gate.run(() => exitFound(engine, container, exit))))
  failpoint('restore.ended')
  const places = new Set(engine.uppers.places())
  await Promise.all(
    found
      .filter(({ container, exit }) => !exit && !container.isAlive)
      .map(entry => gate.run(() => tidy(engine, entry, places))),
  )
  failpoint('restore.tidied')
  await sweep(engine)
  engine.restoring = false
  for (const { container } of living) if (container.isRunning) startHealth(engine, container, true)
  const inOrder = found.toSorted((a, b) => (a.container.record.created < b.container.record.created ? -1 : 1))
  for (const { container } of inOrder) resume(engine, container)
}

/** A start or an end that was cut off left things that belong to no run. */
const tidy = async (
  engine: Engine,
  { container, leftover }: Found,
  places: ReadonlySet<string>,
): Promise<void> => {
  const { record } = container
  const connected = record.networks.some(({ endpointId }) => endpointId !== '')
  if (connected || (places.has(container.id) && engine.uppers.mounted(container.id))) {
    await clearRun(engine, container)
    await saveIfPossible(engine, container)
  }
  if (record.hostConfig.AutoRemove && record.runs > 0) await removeAfterExit(engine, container)
  if (!leftover) return
  if (container.removing) await leftover.removed().catch(() => {})
  await leftover.release().catch(log(engine, container, 'the monitor could not be released'))
  leftover.close()
}

const startByPolicy = async (engine: Engine, container: Container): Promise<void> => {
  container.expectStart()
  await neededStarts(engine, container)
  try {
    await container.queue.run(async () => {
      using operation = engine.operations.begin(ownStart(container))
      container.startCause = 'daemon-start'
      await startInQueue(engine, container, operation)
    })
  } catch (error) {
    log(engine, container, 'start by restart policy failed')(error)
  } finally {
    container.startSettled()
  }
}

/** Called first for what others need: it was made before them. */
const resume = (engine: Engine, container: Container): void => {
  if (container.restartTimer || container.removing) return
  if (container.record.removal) {
    void resumeRemoval(engine, container).catch(log(engine, container, 'a removal could not be carried on'))
    return
  }
  if (container.record.passingPause) {
    delete container.record.passingPause
    if (container.record.state.status === 'paused')
      void unpauseContainer(engine, container).catch(log(engine, container, 'it could not be unpaused'))
  }
  if (container.record.state.status === 'restarting') {
    planRestart(engine, container)?.()
    return
  }
  if (wantedAtStart(container)) void startByPolicy(engine, container)
}
