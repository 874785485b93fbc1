import { readFileSync } from 'node:fs'
import { badRequest, notImplemented } from '../../core/errors.ts'
import { parseSeccompProfile } from '../../runtime/spec/seccomp.ts'

/** What `--security-opt` asks for. */
export interface SecurityOptions {
  noNewPrivileges: boolean
  /** `unconfined`, `builtin`, or a profile's JSON; undefined where nothing was said. */
  seccomp?: string
  apparmor?: string
  writableCgroups?: boolean
}

const parseBool = (text: string): boolean | undefined => {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  return undefined
}

const truth = (option: string, value: string): boolean => {
  const parsed = parseBool(value)
  if (parsed === undefined) throw badRequest(`invalid --security-opt 2: ${JSON.stringify(option)}`)
  return parsed
}

/** Errors: `bad-request` in Docker's words. */
export const parseSecurityOptions = (
  options: readonly string[],
  defaults: Pick<SecurityOptions, 'noNewPrivileges'> = { noNewPrivileges: false },
): SecurityOptions => {
  const parsed: SecurityOptions = { noNewPrivileges: defaults.noNewPrivileges }
  for (const option of options) {
    if (option === 'no-new-privileges') parsed.noNewPrivileges = true
    else if (option === 'writable-cgroups') parsed.writableCgroups = true
    else if (option !== 'disable') {
      const separator = option.includes('=') ? '=' : ':'
      const at = option.indexOf(separator)
      if (at < 0) throw badRequest(`invalid --security-opt 1: ${JSON.stringify(option)}`)
      const value = option.slice(at + 1)
      const name = option.slice(0, at)
      if (name === 'no-new-privileges') parsed.noNewPrivileges = truth(option, value)
      else if (name === 'writable-cgroups') parsed.writableCgroups = truth(option, value)
      else if (name === 'seccomp') parsed.seccomp = value
      else if (name === 'apparmor') parsed.apparmor = value
      else if (name !== 'label') throw badRequest(`invalid --security-opt 2: ${JSON.stringify(option)}`)
    }
  }
  return parsed
}

const hostHasAppArmor = (): boolean => {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y')
  } catch {
    return false
  }
}

/** Refuses security options that Docker does not know, and those that this version does not have. Errors: `bad-request`, `not-implemented`. */
export const checkSecurityOptions = (options: readonly string[]): void => {
  const { seccomp, apparmor } = parseSecurityOptions(options)
  if (seccomp !== undefined && seccomp !== 'unconfined' && seccomp !== 'builtin') parseSeccompProfile(seccomp)
  // As with Docker, a host without AppArmor has nothing that a profile could be given to.
  if (apparmor && apparmor !== 'unconfined' && hostHasAppArmor())
    throw notImplemented(`an AppArmor profile (${apparmor})`)
}
