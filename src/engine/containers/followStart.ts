import { rm } from 'node:fs/promises'
import { messageOf } from '../../core/errors.ts'
import { startFailure } from '../../runtime/errors.ts'
import type { MonitorClient } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { clearProcesses, clearRun } from './clearRun.ts'
import type { Container } from './container.ts'
import { commandOf } from './describe.ts'
import { noteFailedStart } from './ends.ts'
import { killRuntimeOnAbort } from './giveUpStart.ts'
import { startHealth } from './health.ts'
import { removeAfterExit } from './remove.ts'
import { ownStart } from './restart.ts'
import { runDirectory } from './state.ts'

/** The runtime refused, or its monitor was lost: nothing of the run stays. */
const startFailed = async (
  engine: Engine,
  container: Container,
  { monitor, operation }: { monitor: MonitorClient; operation: Operation },
): Promise<void> => {
  const { state, hostConfig } = container.record
  const text = monitor.status.exit?.error ?? 'monitor lost'
  const failure = operation.signal.aborted
    ? { message: messageOf(operation.signal.reason), exitCode: 128 }
    : startFailure(text, commandOf(container.record)[0])
  container.monitor = undefined
  state.error = failure.message
  state.exitCode = failure.exitCode
  noteFailedStart(container, { exitCode: failure.exitCode, detail: failure.message })
  await clearProcesses(engine, container.record)
  await monitor.release().catch(() => {})
  monitor.close()
  await clearRun(engine, container)
  await rm(runDirectory(engine, container), { recursive: true, force: true })
  await engine.containers.save(container).catch(() => {})
  if (hostConfig.AutoRemove) await removeAfterExit(engine, container)
}

/**
 * Carries on a start that an earlier daemon began and whose runtime is still at
 * work. It holds the container's queue, as the start itself does.
 */
export const followStart = (
  engine: Engine,
  container: Container,
  { monitor, settled }: { monitor: MonitorClient; settled: Promise<void> },
): void => {
  const operation = engine.operations.begin(ownStart(container))
  operation.at('waiting for the OCI runtime, that an earlier daemon called')
  container.starting = operation
  container.monitor = monitor
  const follow = async (): Promise<void> => {
    {
      using _ending = operation
      using _killing = killRuntimeOnAbort(operation.signal, monitor)
      await settled
    }
    container.starting = undefined
    const { phase } = monitor.status
    if (phase !== 'running' && phase !== 'exited')
      return startFailed(engine, container, { monitor, operation })
    await engine.containers.save(container).catch(() => {})
    if (container.isRunning) startHealth(engine, container)
  }
  container.queue.run(follow).catch(error => {
    engine.log.error('a start could not be carried on', { container: container.id, error: messageOf(error) })
  })
}
