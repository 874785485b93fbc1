import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { BerthError, badRequest } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
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

const answers = async (binary: string): Promise<boolean> => {
  try {
    await promisify(execFile)(binary, ['--version'], { timeout: 10_000 })
    return true
  } catch {
    return false
  }
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
  for (const name of ['crun', 'runc']) {
    const binary = find(name)
    if (!binary) continue
    if (await answers(binary)) runtimes.set(name, describe(settings, name, binary, []))
    else log.warn(`the OCI runtime ${binary} does not work on this host`)
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
}
