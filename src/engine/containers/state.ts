import path from 'node:path'
import { formatNanos, parseTime } from '../../core/clock.ts'
import { readExitRecord } from '../../runtime/monitor.ts'
import type { ExitRecord, MonitorStatus } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { beginDelivery } from './delivery/deliver.ts'
import { causeAttributes, noteEnd, noteNext } from './ends.ts'
import { answerWaiters } from './waiters.ts'

/** How a container's record follows what its monitor saw. */

/** `<exec-root>/containers/<id>/<run>`: what belongs to one run. */
export const runDirectory = (engine: Engine, container: Container): string =>
  path.join(engine.settings.execRoot, 'containers', container.id, String(container.record.runs))

/** The process runs: from now on every reader sees it. Idempotent. */
export const noteStarted = (engine: Engine, container: Container, status: MonitorStatus): void => {
  const { record } = container
  if (container.isRunning && record.state.pid === status.pid) return
  record.state = {
    ...record.state,
    status: 'running',
    pid: status.pid,
    exitCode: 0,
    error: '',
    oomKilled: false,
    startedAt: formatNanos(status.startedAt),
    stoppedByCall: false,
  }
  noteNext(container)
  containerEvent(engine, container, 'start', record.begun ? causeAttributes(record.begun) : {})
  beginDelivery(engine, container)
}

/**
 * Notes an exit in the container's state: from now on every reader sees it.
 * Synchronous, so that whoever learns of the exit in another way sees it too.
 */
export const applyExit = (engine: Engine, container: Container, exit: ExitRecord): void => {
  if (!container.isRunning) return
  const { state } = container.record
  const startedAt = parseTime(state.startedAt) ?? exit.startedAt
  state.status = 'exited'
  state.pid = 0
  state.exitCode = exit.exitCode
  state.error = exit.phase === 'failed' ? exit.error : ''
  state.oomKilled = exit.oomKilled
  state.finishedAt = formatNanos(exit.finishedAt)
  // Docker's word for one whose probes have ended.
  if (state.health) state.health = { ...state.health, Status: 'unhealthy' }
  containerEvent(engine, container, 'die', {
    ...causeAttributes(noteEnd(engine, container, exit)),
    exitCode: String(exit.exitCode),
    execDuration: String((exit.finishedAt - startedAt) / 1_000_000_000n),
  })
  container.healthAlarm?.[Symbol.dispose]()
  for (const listener of container.exitListeners) listener()
  answerWaiters(container, ['not-running', 'next-exit'])
}

/**
 * Reads the exit record of a container that is thought to run, so that nobody
 * who saw the end of its stream is told that it still runs. The rest of the end
 * is taken care of in the container's queue, before any verb that comes later.
 */
export const settleExit = async (engine: Engine, container: Container): Promise<void> => {
  if (!container.isRunning) return
  const record = readExitRecord(runDirectory(engine, container))
  if (record) engine.supervise(container).exited(record)
}
