import path from 'node:path'
import { nowNanos, parseTime } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { killGroup } from '../../linux/cgroups.ts'
import { removeTree } from '../../linux/removeTree.ts'
import { readExitRecord } from '../../runtime/monitor.ts'
import type { ExitRecord, MonitorEvents } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import { clearRun } from './clearRun.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { monitorLost, noteOutcome } from './ends.ts'
import { containerGroup } from './groups.ts'
import { logEnded, logGrown, logRotated } from './logs/budget.ts'
import { removeAfterExit } from './remove.ts'
import { outcomeOf, planRestart } from './restart.ts'
import { applyExit, noteStarted, runDirectory } from './state.ts'

/** What the daemon does when a monitor speaks: started, out of memory, exited, lost. */

/** Without a pid namespace of its own nothing ends the rest of a container's processes with the first. */
const sharesPids = (container: Container): boolean =>
  !['', 'private'].includes(container.record.hostConfig.PidMode ?? '')

export const monitorEvents = (engine: Engine, container: Container): MonitorEvents => {
  const { runs } = container.record
  // What an earlier run's monitor says late must not touch the run that followed.
  const isCurrent = (): boolean => container.record.runs === runs
  return {
    started: status => {
      if (isCurrent()) noteStarted(engine, container, status)
    },
    rotated: () => logRotated(engine, container),
    logGrown: size => logGrown(engine, container, size),
    ended: () => {
      if (isCurrent() && sharesPids(container))
        killGroup(containerGroup(engine.settings, container.record).group)
    },
    exited: record => {
      // A run that never came to be is the start's own to clear away.
      if (isCurrent() && record.phase === 'exited') void exitSeen(engine, container, record)
    },
    oom: () => {
      if (!isCurrent()) return
      container.record.state.oomKilled = true
      containerEvent(engine, container, 'oom')
    },
    clientGone: detached => {
      if (detached) containerEvent(engine, container, 'detach')
    },
    closed: () => {
      if (isCurrent()) void monitorClosed(engine, container)
    },
  }
}

const log = (engine: Engine, container: Container, what: string) => (error: unknown) =>
  engine.log.error(what, { container: container.id, error: messageOf(error) })

/** The event came: the rest of the work is the container's queue's. */
const exitSeen = (engine: Engine, container: Container, record: ExitRecord): Promise<void> => {
  const run = container.record.runs
  applyExit(engine, container, record)
  container.finishRun = () =>
    finishRun(engine, container, run).catch(
      log(engine, container, 'the end of a run could not be cleared away'),
    )
  return container.queue.run(() => container.finishRun())
}

/** On a full disk the exit record in exec-root goes on telling how the run ended. */
const notSaved =
  (engine: Engine, container: Container) =>
  (error: unknown): false => {
    log(engine, container, 'the end of a run could not be recorded')(error)
    return false
  }

/** Takes away what a run had, then restarts or removes the container as its policy says. */
export const finishRun = async (engine: Engine, container: Container, run: number): Promise<void> => {
  const { record } = container
  if (container.isAlive || record.runs !== run || container.finishedRun === run) return
  container.finishedRun = run
  logEnded(engine, container)
  const monitor = container.monitor
  container.monitor = undefined
  const again = planRestart(engine, container)
  noteOutcome(container, outcomeOf(container))
  const saved = await engine.containers.save(container).then(() => true, notSaved(engine, container))
  failpoint('exit.saved')
  await clearRun(engine, container)
  failpoint('exit.cleared')
  if (record.hostConfig.AutoRemove && !again && !container.restarting)
    await removeAfterExit(engine, container)
  if (monitor) {
    if (container.removing) await monitor.removed().catch(() => {})
    await monitor.release().catch(log(engine, container, 'the monitor could not be released'))
  }
  failpoint('exit.released')
  if (saved) removeTree(path.dirname(runDirectory(engine, container)))
  again?.()
}

/** A monitor that ends without an exit was lost: its container is ended with it. */
const monitorClosed = async (engine: Engine, container: Container): Promise<void> => {
  if (!container.isRunning) return
  const record = readExitRecord(runDirectory(engine, container))
  await exitSeen(engine, container, record ?? lostRecord(engine, container, 137, monitorLost))
}

/** The record of a run whose end nobody saw. */
export const lostRecord = (
  engine: Engine,
  container: Container,
  exitCode: number,
  cause: string,
): ExitRecord => {
  const { group } = containerGroup(engine.settings, container.record)
  killGroup(group)
  engine.log.warn(cause, { container: container.id })
  return {
    phase: 'exited',
    pid: container.record.state.pid,
    exitCode,
    oomKilled: false,
    startedAt: parseTime(container.record.state.startedAt) ?? 0n,
    finishedAt: nowNanos(),
    error: cause,
  }
}

/** For restore: an exit found after the fact, taken through the same path. */
export const exitFound = exitSeen
