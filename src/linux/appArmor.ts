import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** AppArmor, on hosts that have it. */

const profiles = '/sys/kernel/security/apparmor/profiles'

/** As the kernel and Docker's own test say: `unusable` where nothing can load a profile. */
export type AppArmorState = 'on' | 'off' | 'unusable'

const parsers = ['/sbin/apparmor_parser', '/usr/sbin/apparmor_parser']

const findState = (): AppArmorState => {
  try {
    readFileSync(profiles)
  } catch {
    return 'off'
  }
  return parsers.some(file => existsSync(file)) ? 'on' : 'unusable'
}

/** Looked up once: it is on or off from the boot. */
export const appArmorState = (() => {
  let known: AppArmorState | undefined
  return (): AppArmorState => {
    known ??= findState()
    return known
  }
})()

/** Containers get profiles. */
export const hostHasAppArmor = (): boolean => appArmorState() === 'on'

/** `name (enforce)`, a line each; names may have spaces. */
export const isProfileLoaded = (name: string): boolean =>
  readFileSync(profiles, 'utf8')
    .split('\n')
    .some(line => line.slice(0, line.indexOf(' (')) === name)

/** The profile of this process; `unconfined` where it has none. */
export const ownProfile = (): string => {
  try {
    return readFileSync('/proc/self/attr/current', 'utf8').trim().split(' (')[0] || 'unconfined'
  } catch {
    return 'unconfined'
  }
}

/** Whether /etc/apparmor.d has a file that profiles can include. */
export const hasProfileFile = (file: string): boolean => existsSync(path.join('/etc/apparmor.d', file))

/** Errors: what apparmor_parser(8) says, or that it is not there. */
export const loadProfile = (text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    // Nothing is cached: the folder of the cache may be read-only.
    const parser = execFile('apparmor_parser', ['-Kr'], (error, _stdout, stderr) =>
      error ? reject(new Error(stderr.trim() || error.message, { cause: error })) : resolve(),
    )
    parser.stdin?.on('error', () => {})
    parser.stdin?.end(text)
  })
