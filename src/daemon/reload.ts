import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { holdBudget } from '../engine/containers/logs/budget.ts'
import type { Daemon } from './compose.ts'
import { readConfig } from './config.ts'
import { findRuntimes } from './runtimes.ts'
import { type DaemonSettings, settingsOf } from './settings.ts'

/** What SIGHUP reads again; the rest of daemon.json counts at the next start, as with dockerd. */
const apply = async (daemon: Daemon, settings: DaemonSettings, log: Log): Promise<Record<string, string>> => {
  const fresh = settingsOf(readConfig(process.argv.slice(2)))
  await findRuntimes(fresh, log)
  const { engine } = daemon
  log.level = fresh.logLevel
  settings.logLevel = fresh.logLevel
  engine.settings.debug = fresh.engine.debug
  engine.settings.labels = fresh.engine.labels
  engine.settings.logLimits = fresh.engine.logLimits
  holdBudget(engine)
  engine.settings.imageCleanUp = fresh.engine.imageCleanUp
  await engine.cleanUps.arm(engine)
  engine.settings.liveRestore = fresh.engine.liveRestore
  engine.settings.shutdownTimeout = fresh.engine.shutdownTimeout
  engine.settings.runtimes = fresh.engine.runtimes
  engine.settings.defaultRuntime = fresh.engine.defaultRuntime
  engine.settings.defaultShmSize = fresh.engine.defaultShmSize
  engine.settings.defaultIpcMode = fresh.engine.defaultIpcMode
  engine.settings.defaultCgroupnsMode = fresh.engine.defaultCgroupnsMode
  return {
    debug: String(fresh.engine.debug),
    'default-cgroupns-mode': fresh.engine.defaultCgroupnsMode,
    'default-ipc-mode': fresh.engine.defaultIpcMode,
    'default-runtime': fresh.engine.defaultRuntime,
    'default-shm-size': String(fresh.engine.defaultShmSize),
    'image-clean-up': JSON.stringify(fresh.engine.imageCleanUp),
    labels: JSON.stringify(fresh.engine.labels),
    'live-restore': String(fresh.engine.liveRestore),
    'log-budget': String(fresh.engine.logLimits.budget),
    runtimes: [...fresh.engine.runtimes.keys()].join(' '),
    'shutdown-timeout': String(fresh.engine.shutdownTimeout),
  }
}

/** A file that is wrong changes nothing, and is told in the log. */
export const reload = async (daemon: Daemon, settings: DaemonSettings, log: Log): Promise<void> => {
  try {
    const attributes = await apply(daemon, settings, log)
    daemon.engine.events.publish('daemon', 'reload', daemon.id, { name: 'berth', ...attributes })
    log.info('configuration reloaded')
  } catch (error) {
    log.error(`configuration not reloaded: ${messageOf(error)}`)
  }
}
