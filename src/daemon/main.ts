import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { serverVersion } from '../api/server.ts'
import { messageOf } from '../core/errors.ts'
import { createLog, type Log } from '../core/log.ts'
import { notifySystemd } from '../linux/notify.ts'
import { checkSockets } from './accessPolicies.ts'
import { activatedSockets, takeActivated } from './activation.ts'
import { openAuditLog } from './auditLog.ts'
import { prepareBareNamespace } from './bareNamespace.ts'
import { type Daemon, openDaemon } from './compose.ts'
import { readConfig } from './config.ts'
import { checkWayToRoots, lockDataRoot, prepareExecRoot } from './dataRoot.ts'
import { parseFlags, usage } from './flags.ts'
import { reloader } from './reload.ts'
import { idMapsOf } from './remappedRoot.ts'
import { findRuntimes } from './runtimes.ts'
import { type DaemonSettings, settingsOf } from './settings.ts'
import { reasonToStop, restartGrace, stopAll } from './shutdown.ts'
import { checkLayerLimit } from './storageOptions.ts'
import { keepSystemdInformed, takeSystemdRequest } from './systemdNotices.ts'

const fail = (error: unknown): never => {
  process.stderr.write(`berthd: ${messageOf(error)}\n`)
  process.exit(1)
}

const writePidFile = (settings: DaemonSettings, log: Log): void => {
  try {
    mkdirSync(path.dirname(settings.pidFile), { recursive: true })
    writeFileSync(settings.pidFile, `${process.pid}\n`)
  } catch (error) {
    log.error(`the pid file ${settings.pidFile} could not be written`, { error: messageOf(error) })
  }
}

/** SIGTERM and SIGINT: an orderly stop; the second one ends at once. */
const onSignals = (daemon: Daemon, settings: DaemonSettings, log: Log): void => {
  let stopping = false
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1)
    stopping = true
    log.info(`stopping on ${signal}`)
    notifySystemd('STOPPING=1')
    const because = await reasonToStop(daemon.engine)
    if (because) await stopAll(daemon.engine, because)
    daemon.engine.stopping = true
    daemon.holder.leaving(because ? 0 : restartGrace)
    await daemon.close()
    rmSync(settings.pidFile, { force: true })
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal).catch(fail))
}

const main = async (): Promise<void> => {
  const asked = parseFlags(process.argv.slice(2))
  if (asked.get('help') || asked.get('version')) {
    process.stdout.write(asked.get('help') ? usage() : `Berth version ${serverVersion}\n`)
    return
  }
  const config = readConfig(process.argv.slice(2))
  const settings = settingsOf(config)
  const isActivated = settings.hosts.some(({ activated }) => activated !== undefined)
  // Which sockets systemd will hand over is not known before.
  if (!isActivated) checkSockets(settings.engine.accessPolicies, settings.hosts)
  if (config.validateOnly) {
    process.stdout.write('configuration OK\n')
    return
  }
  const log = createLog({
    level: settings.logLevel,
    format: settings.logFormat,
    write: line => process.stderr.write(line),
  })
  for (const warning of [...config.warnings, ...settings.warnings]) log.warn(warning)
  if (process.getuid?.() !== 0) throw new Error('berthd needs to be started as root (try sudo)')
  process.umask(0o022)
  const systemd = takeSystemdRequest()
  takeActivated()
  for (const { activated } of settings.hosts) if (activated !== undefined) activatedSockets(activated)
  if (isActivated) checkSockets(settings.engine.accessPolicies, settings.hosts)
  const audit = settings.auditLog === '' ? undefined : openAuditLog(settings.auditLog, log)
  lockDataRoot(settings)
  settings.engine.idMaps = idMapsOf(settings.usernsRemap, log)
  checkLayerLimit(settings.engine)
  checkWayToRoots(settings.engine)
  prepareExecRoot(settings)
  await Promise.all([findRuntimes(settings, log), prepareBareNamespace(settings.engine, log)])
  const daemon = await openDaemon(settings, { log, audit })
  writePidFile(settings, log)
  onSignals(daemon, settings, log)
  const reload = reloader({ daemon, settings, values: config.values, log })
  process.on('SIGHUP', () => void reload())
  notifySystemd(`READY=1\nMAINPID=${process.pid}`)
  keepSystemdInformed(daemon.engine, log, systemd)
  log.info(`Berth ${serverVersion} is ready`, {
    containers: daemon.engine.containers.all().length,
    runtime: settings.engine.defaultRuntime,
  })
}

process.on('unhandledRejection', error => {
  process.stderr.write(`berthd: unhandled: ${error instanceof Error ? error.stack : String(error)}\n`)
})
main().catch(fail)
