import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { BerthError, badRequest } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { isVersionAtLeast } from '../core/versions.ts'
import { isHybrid } from '../linux/cgroups.ts'
import type { RuntimeBinary } from '../runtime/types.ts'
import type { DaemonSettings } from './settings.ts'

/** Which OCI runtimes there are, and which of them works on this host. */

const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

const find = (name: string): string | undefined => {
  for (const folder of [...(process.env['PATH'] ?? '').split(':').filter(Boolean), ...folders]) {
    const file = path.join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not here.
    }
  }
  return undefined
}

/** What it says of its version; undefined where it does not work. */
const versionOf = async (binary: string): Promise<string | undefined> => {
  try {
    return (await promisify(execFile)(binary, ['--version'], { timeout: 10_000 })).stdout
  } catch {
    return undefined
  }
}

/** What is known to be wrong with the default runtime, as `docs/hosts.md` tells it. */
const warnOfOld = (binary: string, told: string, log: Log): void => {
  const [, version] = /^runc version (\S+)/.exec(told) ?? []
  if (version === undefined || isVersionAtLeast(version, '1.1.14')) return
  log.warn(
    `${binary} is runc ${version}: before 1.1.14 a container may lead it out of a shared volume (CVE-2024-45310) and an exec may get the hard limit of open files as its soft one; install crun or a newer runc`,
  )
}

const describe = (settings: DaemonSettings, name: string, binary: string, args: string[]): RuntimeBinary => ({
  name,
  path: binary,
  args: settings.engine.cgroupDriver === 'systemd' ? [...args, '--systemd-cgroup'] : args,
  root: path.join(settings.engine.execRoot, 'runtime', name),
  hideUnified: isHybrid && path.basename(binary).startsWith('crun'),
  sealed: /^(crun|runc)$/.test(path.basename(binary)),
})

/**
 * Fills in the runtimes of the settings. The default is the one that was asked
 * for, else crun, else runc. Errors: where none works, with what to install.
 */
export const findRuntimes = async (settings: DaemonSettings, log: Log): Promise<void> => {
  const { runtimes } = settings.engine
  const versions = new Map<string, string>()
  for (const name of ['crun', 'runc']) {
    const binary = find(name)
    if (!binary) continue
    const told = await versionOf(binary)
    if (told === undefined) {
      log.warn(`the OCI runtime ${binary} does not work on this host`)
      continue
    }
    runtimes.set(name, describe(settings, name, binary, []))
    versions.set(binary, told)
  }
  for (const [name, { path: file, args }] of settings.addedRuntimes)
    runtimes.set(name, describe(settings, name, path.isAbsolute(file) ? file : (find(file) ?? file), args))
  const wanted = settings.engine.defaultRuntime
  if (wanted !== '' && !runtimes.has(wanted))
    throw badRequest(`specified default runtime '${wanted}' does not exist`)
  const [first] = runtimes.keys()
  if (first === undefined)
    throw new BerthError(
      'no-runtime',
      500,
      'no OCI runtime was found: install crun or runc (apt-get install crun)',
    )
  settings.engine.defaultRuntime = wanted || first
  const chosen = runtimes.get(settings.engine.defaultRuntime)?.path ?? ''
  warnOfOld(chosen, versions.get(chosen) ?? '', log)
}
