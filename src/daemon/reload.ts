import { hostname } from 'node:os'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { SerialQueue } from '../core/queue.ts'
import { holdBudget } from '../engine/containers/logs/budget.ts'
import type { EngineSettings } from '../engine/settings.ts'
import { checkSockets } from './accessPolicies.ts'
import type { Daemon } from './compose.ts'
import { readConfig } from './config.ts'
import type { Given } from './flags.ts'
import { findRuntimes } from './runtimes.ts'
import { type DaemonSettings, settingsOf } from './settings.ts'
import { announceReload } from './systemdNotices.ts'

/** What SIGHUP reads again; the rest of daemon.json counts at the next start, as with dockerd. */
export const reloadable: ReadonlySet<string> = new Set([
  'access-policies',
  'add-runtime',
  'clean-up',
  'authorization-plugin',
  'debug',
  'default-cgroupns-mode',
  'default-ipc-mode',
  'default-runtime',
  'default-shm-size',
  'default-stop-timeout',
  // Of it BuildKit alone: CDI is switched at the start.
  'feature',
  'health-first-probe',
  'image-clean-up',
  'insecure-registry',
  'label',
  'live-restore',
  'log-budget',
  'log-default-max-file',
  'log-default-max-size',
  'log-level',
  'max-concurrent-downloads',
  'max-concurrent-uploads',
  'max-download-attempts',
  'registry-mirror',
  'shutdown-timeout',
  'tlscacert',
  'tlscert',
  'tlskey',
])

export interface Reloadable {
  daemon: Daemon
  settings: DaemonSettings
  /** The options as they were at the start. */
  values: Given
  log: Log
}

/** Names of options that are not as they were at the start, and are not read again either. */
export const waitingOptions = (before: Given, now: Given): string[] =>
  [...new Set([...before.keys(), ...now.keys()])]
    .filter(name => !reloadable.has(name))
    .filter(name => JSON.stringify(before.get(name)) !== JSON.stringify(now.get(name)))
    .sort()

/** The attributes of the event, named as dockerd's where it has them. */
const attributesOf = (engine: EngineSettings): Record<string, string> => ({
  'access-policies': JSON.stringify(engine.accessPolicies.map(({ name }) => name)),
  'authorization-plugins': JSON.stringify(engine.authorizationPlugins),
  debug: String(engine.debug),
  'default-cgroupns-mode': engine.defaultCgroupnsMode,
  'default-ipc-mode': engine.defaultIpcMode,
  'default-runtime': engine.defaultRuntime,
  'default-shm-size': String(engine.defaultShmSize),
  'default-stop-timeout': String(engine.defaultStopTimeout),
  'clean-up': JSON.stringify(engine.cleanUp),
  features: JSON.stringify({ buildkit: engine.buildkit }),
  'health-first-probe': engine.healthFirstProbe,
  'image-clean-up': JSON.stringify(engine.imageCleanUp),
  'insecure-registries': JSON.stringify(engine.registries.insecure),
  labels: JSON.stringify(engine.labels),
  'live-restore': String(engine.liveRestore),
  'log-budget': String(engine.logLimits.budget),
  'max-concurrent-downloads': String(engine.maxDownloads),
  'max-concurrent-uploads': String(engine.maxUploads),
  'max-download-attempts': String(engine.registries.attempts),
  'registry-mirrors': JSON.stringify(engine.registries.mirrors.map(mirror => `${mirror}/`)),
  runtimes: [...engine.runtimes.values()].map(({ name, path }) => `${name}:${path}`).join(' '),
  'shutdown-timeout': String(engine.shutdownTimeout),
})

/** All that can fail comes before the first change. */
const apply = async ({ daemon, settings, values, log }: Reloadable): Promise<void> => {
  const config = readConfig(process.argv.slice(2))
  const fresh = settingsOf(config)
  // Those that it has: other hosts count at the next start only.
  checkSockets(fresh.engine.accessPolicies, settings.hosts)
  await findRuntimes(fresh, log)
  const { engine } = daemon
  log.level = fresh.logLevel
  settings.logLevel = fresh.logLevel
  if (fresh.tls) daemon.tls?.renew(fresh.tls)
  const { mirrors, insecure, attempts } = fresh.engine.registries
  engine.registries.configure({ mirrors, insecure, attempts })
  Object.assign(engine.settings, {
    accessPolicies: fresh.engine.accessPolicies,
    authorizationPlugins: fresh.engine.authorizationPlugins,
    buildkit: fresh.engine.buildkit,
    debug: fresh.engine.debug,
    defaultCgroupnsMode: fresh.engine.defaultCgroupnsMode,
    defaultIpcMode: fresh.engine.defaultIpcMode,
    defaultRuntime: fresh.engine.defaultRuntime,
    defaultShmSize: fresh.engine.defaultShmSize,
    defaultStopTimeout: fresh.engine.defaultStopTimeout,
    healthFirstProbe: fresh.engine.healthFirstProbe,
    imageCleanUp: fresh.engine.imageCleanUp,
    cleanUp: fresh.engine.cleanUp,
    cleanUpInterval: fresh.engine.cleanUpInterval,
    labels: fresh.engine.labels,
    liveRestore: fresh.engine.liveRestore,
    logLimits: fresh.engine.logLimits,
    maxDownloads: fresh.engine.maxDownloads,
    maxUploads: fresh.engine.maxUploads,
    registries: { ...engine.settings.registries, mirrors, insecure, attempts },
    runtimes: fresh.engine.runtimes,
    shutdownTimeout: fresh.engine.shutdownTimeout,
  } satisfies Partial<EngineSettings>)
  engine.fetches.width = fresh.engine.maxDownloads
  engine.uploads.width = fresh.engine.maxUploads
  holdBudget(engine)
  for (const schedule of engine.schedules) await schedule.arm(engine)
  const waiting = waitingOptions(values, config.values)
  if (waiting.length)
    log.warn('changed options that count at the next start only', { options: waiting.join(' ') })
}

/** Reads the options again, one reload after another. A file that is wrong changes nothing, and is told in the log. */
export const reloader = (reloadable: Reloadable): (() => Promise<void>) => {
  const { daemon, log } = reloadable
  const queue = new SerialQueue()
  const reload = async (): Promise<void> => {
    using _announced = announceReload(log)
    try {
      daemon.audit?.reopen()
      await apply(reloadable)
      const attributes = { ...attributesOf(daemon.engine.settings), name: hostname() }
      daemon.engine.events.publish('daemon', 'reload', daemon.id, attributes)
      log.info('configuration reloaded')
    } catch (error) {
      log.error(`configuration not reloaded: ${messageOf(error)}`)
    }
  }
  return () => queue.run(reload)
}
