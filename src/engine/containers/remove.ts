import { readdirSync, rmdirSync } from 'node:fs'
import { rm, unlink } from 'node:fs/promises'
import path from 'node:path'
import { BerthError, conflict, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Engine } from '../engine.ts'
import { isAttachedTo } from '../networks/attachments.ts'
import { isPredefined } from '../networks/types.ts'
import type { Operation, OperationRequest } from '../operations.ts'
import { eraseForeign, eraseVolumes } from '../volumes/removeVolume.ts'
import { isForeign, type VolumeRecord } from '../volumes/types.ts'
import { usersOf, volumesOf } from '../volumes/users.ts'
import { dropPending } from './attach.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { finishDelivery } from './delivery/deliver.ts'
import { endingOf, noteEnding } from './ends.ts'
import { giveUpStart } from './giveUpStart.ts'
import { removeImageMounts } from './imageMounts.ts'
import { containerDirectory } from './logConfig.ts'
import { endCompression } from './logs/compress.ts'
import { cancelRestart } from './restart.ts'
import { runDirectory, settleExit } from './state.ts'
import { killAndWait, killEvent } from './stop.ts'
import { answerWaiters } from './waiters.ts'

/**
 * Forgets a container durably, then takes its files away: a crash in between
 * leaves files without an owner, which the next start removes.
 */
const erase = async (engine: Engine, container: Container, volumes: boolean): Promise<void> => {
  container.removing = true
  try {
    await finishDelivery(engine, container)
    await endCompression(engine, container.id)
    await forget(engine, container, volumes)
  } catch (error) {
    container.removing = false
    throw error
  }
  failpoint('remove.recorded')
  noteNeeds(engine, container)
  await removeFiles(engine, container)
  failpoint('remove.files')
  engine.logLedger.forget(container.id)
  dropPending(container)
  for (const listener of container.removeListeners) listener()
  engine.execs.forgetContainer(container.id)
  answerWaiters(container, ['removed', 'not-running', 'next-exit'])
  containerEvent(engine, container, 'destroy')
}

/** What the removed one needed may be unused from now on. */
const noteNeeds = (engine: Engine, container: Container): void => {
  const { networks, volumes, lastNeed } = engine
  const attached = networks
    .all()
    .filter(network => !isPredefined(network.name))
    .filter(network => container.record.networks.some(attachment => isAttachedTo(attachment, network)))
  lastNeed.note(
    'network',
    attached.map(({ id }) => id),
  )
  lastNeed.note(
    'volume',
    volumesOf(container).filter(name => volumes.find(name)),
  )
}

/** Writes that a container is gone, together with those volumes that go with it: nobody named them, and nobody else uses them. */
const forget = async (engine: Engine, container: Container, volumes: boolean): Promise<void> => {
  const names = container.record.mounts.flatMap(({ type, name, named }) =>
    volumes && type === 'volume' && !named ? [name] : [],
  )
  await engine.volumes.exclusively(names, async () => {
    const going = [...new Set(names)].flatMap(name => {
      const record = engine.volumes.find(name)
      const isShared = usersOf(engine, name).some(({ id }) => id !== container.id)
      return record && !isShared ? [record] : []
    })
    const own = going.filter(record => !isForeign(record))
    await eraseVolumes(engine, own, puts => engine.containers.delete(container, puts))
    // A plugin that hangs holds back no removal.
    for (const record of going.filter(isForeign)) void eraseAnonymous(engine, record)
  })
}

const eraseAnonymous = (engine: Engine, record: VolumeRecord & { driver: string }): Promise<void> =>
  engine.volumes
    .exclusively([record.name], () => eraseForeign(engine, record))
    .catch(error =>
      engine.log.warn("a removed container's volume is left", {
        ...{ volume: record.name, driver: record.driver, error: messageOf(error) },
      }),
    )

/** A container's directory has few files and mostly no folders: only the removal of a large log takes time. */
const removeDirectory = async (directory: string): Promise<void> => {
  try {
    await Promise.all(readdirSync(directory).map(name => unlink(path.join(directory, name))))
    rmdirSync(directory)
  } catch {
    await rm(directory, { recursive: true, force: true })
  }
}

/** What cannot be removed now has no owner any more: the next start tries again. */
const removeFiles = async (engine: Engine, container: Container): Promise<void> => {
  const { dataRoot } = engine.settings
  const steps: (() => void | Promise<void>)[] = [
    () => engine.uppers.remove(container.id),
    () => removeImageMounts(engine, container.record),
    () => removeDirectory(containerDirectory(dataRoot, container.id)),
  ]
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      engine.log.error('files of a removed container are left', {
        container: container.id,
        error: messageOf(error),
      })
    }
    failpoint('remove.step')
  }
}

/** `--rm`: called when the run has been cleared away. */
export const removeAfterExit = async (engine: Engine, container: Container): Promise<void> => {
  if (container.removing) return
  using operation = engine.operations.begin(ownRemoval(container))
  operation.commit('its run has ended, and it was made to go with that')
  try {
    await erase(engine, container, true)
  } catch (error) {
    engine.log.error('auto-remove failed', { container: container.id, error: messageOf(error) })
  }
}

export interface RemoveOptions {
  force: boolean
  volumes: boolean
  operation: Operation
}

/** `DELETE /containers/{id}`. Errors: 409 where it runs and `force` is not given. */
export const removeContainer = async (
  engine: Engine,
  container: Container,
  { operation, ...options }: RemoveOptions,
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
  cancelRestart(container, operation)
  container.record.state.stoppedByCall = true
  const volumes =
    options.volumes || ((container.isRunning && container.record.hostConfig.AutoRemove) ?? false)
  if (options.force) giveUpStart(container, 'its removal')
  if (container.isRunning) {
    operation.at('waiting for its end after SIGKILL')
    operation.commit('SIGKILL has been sent, and the removal has been recorded')
    await killForRemoval(engine, container, { volumes, operation })
  } else operation.at('waiting for what is under way with the container')
  await container.queue.run(async () => {
    if (container.removing) return
    operation.commit('the removal has begun')
    await erase(engine, container, volumes)
    // Left where the end of its last run could not be recorded; its monitor is gone.
    await rm(path.dirname(runDirectory(engine, container)), { recursive: true, force: true })
  }, operation.signal)
}

/** The removal is written down before the kill, so that a crash in between leaves no stopped container behind. */
const killForRemoval = async (
  engine: Engine,
  container: Container,
  { volumes, operation }: { volumes: boolean; operation: Operation },
): Promise<void> => {
  const { record } = container
  record.removal = { volumes }
  // One that is carried on was somebody's, who is noted already.
  const ending = operation.requester ? endingOf(operation, 9) : (record.ending ?? endingOf(operation, 9))
  noteEnding(container, ending)
  await engine.containers.save(container).catch(error => {
    engine.log.warn('a removal could not be recorded', { container: container.id, error: messageOf(error) })
  })
  failpoint('remove.intended')
  try {
    if (container.isRunning) {
      killEvent(engine, container, ending)
      await killAndWait(engine, container)
    }
  } catch (error) {
    delete container.record.removal
    throw error
  }
  failpoint('remove.killed')
}

const ownRemoval = ({ id, record }: Container): OperationRequest => ({
  verb: 'rm',
  subject: { type: 'container', id, name: record.name },
})

/** Carries on a forced removal that an earlier daemon began. */
export const resumeRemoval = async (engine: Engine, container: Container): Promise<void> => {
  const volumes = container.record.removal?.volumes ?? false
  using operation = engine.operations.begin(ownRemoval(container))
  await removeContainer(engine, container, { force: true, volumes, operation })
}

/** Removes one that does not run, for a clean-up; false where it cannot be removed. */
export const removeIfStopped = async (engine: Engine, container: Container): Promise<boolean> => {
  if (container.isRunning || container.removing) return false
  using operation = engine.operations.begin(ownRemoval(container))
  try {
    await removeContainer(engine, container, { force: false, volumes: false, operation })
    return true
  } catch (error) {
    if (error instanceof BerthError && error.status === 409) return false
    throw error
  }
}
