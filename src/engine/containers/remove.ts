import { rm } from 'node:fs/promises'
import { BerthError, conflict, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Engine } from '../engine.ts'
import { dropPending } from './attach.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { containerDirectory } from './logConfig.ts'
import { cancelRestart } from './restart.ts'
import { settleExit } from './state.ts'
import { killAndWait } from './stop.ts'
import { removeVolumes, volumePuts } from './volumes.ts'
import { answerWaiters } from './waiters.ts'

/**
 * Forgets a container durably, then takes its files away: a crash in between
 * leaves files without an owner, which the next start removes.
 */
const erase = async (engine: Engine, container: Container, volumes: boolean): Promise<void> => {
  container.removing = true
  const { record } = container
  await engine.containers.delete(container, volumes ? volumePuts(record, true) : [])
  failpoint('remove.recorded')
  await engine.uppers.remove(container.id)
  failpoint('remove.upper')
  if (volumes) await removeVolumes(engine, record)
  await rm(containerDirectory(engine.settings.dataRoot, container.id), { recursive: true, force: true })
  failpoint('remove.files')
  dropPending(container)
  for (const listener of container.removeListeners) listener()
  engine.execs.forgetContainer(container.id)
  answerWaiters(container, ['removed', 'not-running', 'next-exit'])
  containerEvent(engine, container, 'destroy')
}

/** `--rm`: called when the run has been cleared away. */
export const removeAfterExit = async (engine: Engine, container: Container): Promise<void> => {
  if (container.removing) return
  try {
    await erase(engine, container, true)
  } catch (error) {
    engine.log.error('auto-remove failed', { container: container.id, error: messageOf(error) })
  }
}

/** `DELETE /containers/{id}`. Errors: 409 where it runs and `force` is not given. */
export const removeContainer = async (
  engine: Engine,
  container: Container,
  options: { force: boolean; volumes: boolean },
): Promise<void> => {
  if (container.removing)
    throw conflict(`removal of container ${container.record.name} is already in progress`)
  await settleExit(engine, container)
  const { status } = container.record.state
  if (container.isRunning && !options.force) {
    const advice =
      status === 'paused'
        ? 'unpause and then stop the container before removal or force remove'
        : 'stop the container before removal or force remove'
    throw conflict(`cannot remove container "${container.record.name}": container is ${status}: ${advice}`)
  }
  cancelRestart(container)
  container.record.state.stoppedByCall = true
  const autoRemoves = container.isRunning && container.record.hostConfig.AutoRemove
  if (container.isRunning) await killAndWait(engine, container)
  await container.queue.run(async () => {
    if (container.removing) return
    await erase(engine, container, options.volumes || (autoRemoves ?? false))
  })
}

/** `POST /containers/prune`'s one removal; undefined where it cannot be removed. */
export const removeStopped = async (engine: Engine, container: Container): Promise<number | undefined> => {
  if (container.isRunning || container.removing) return undefined
  const usage = await engine.uppers.usage(container.id)
  try {
    await removeContainer(engine, container, { force: false, volumes: false })
    return usage.size
  } catch (error) {
    if (error instanceof BerthError && error.status === 409) return undefined
    throw error
  }
}
