import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { messageOf } from '../core/errors.ts'
import { type StopOptions, stopContainer } from '../engine/containers/stop.ts'
import type { Engine } from '../engine/engine.ts'

/** Seconds that the descriptor store keeps the API's listeners after an orderly stop. */
export const restartGrace = 30

/** True where systemd is taking the host down. */
const hostStops = async (): Promise<boolean> => {
  if (!existsSync('/run/systemd/system')) return false
  try {
    await promisify(execFile)('systemctl', ['is-system-running'])
    return false
  } catch (error) {
    return ((error as { stdout?: string }).stdout ?? '').trim() === 'stopping'
  }
}

/** Why an orderly stop of the daemon stops the containers too; undefined where it does not. */
export const reasonToStop = async (engine: Engine): Promise<StopOptions['because'] | undefined> => {
  if (await hostStops()) return { cause: 'host-restart', detail: 'the host was going down' }
  if (engine.settings.liveRestore) return undefined
  return { cause: 'daemon', detail: 'the daemon was stopped, and live-restore is off' }
}

/** Stops every container within the time-out, each as long as its own allows. */
export const stopAll = async (
  engine: Engine,
  because: NonNullable<StopOptions['because']>,
): Promise<void> => {
  const limit = engine.settings.shutdownTimeout
  await Promise.all(
    engine.containers.all().map(async container => {
      if (!container.isRunning && container.record.state.status !== 'restarting') return
      const own = container.record.config.StopTimeout ?? engine.settings.defaultStopTimeout
      const wanted = container.record.state.stoppedByCall
      try {
        const timeout = limit < 0 ? own : Math.min(own, limit)
        const subject = { type: 'container', id: container.id, name: container.record.name }
        using operation = engine.operations.begin({ verb: 'stop', subject })
        await stopContainer(engine, container, { timeout, operation, because })
        container.record.state.stoppedByCall = wanted
        await engine.containers.save(container)
      } catch (error) {
        engine.log.error('a container could not be stopped', {
          container: container.id,
          error: messageOf(error),
        })
      }
    }),
  )
}
