import { badRequest } from '../../core/errors.ts'
import { parseSeccompProfile } from '../../runtime/spec/seccomp.ts'
import { truthOf } from '../../wire/truth.ts'

/** What `--security-opt` asks for. */
export interface SecurityOptions {
  noNewPrivileges: boolean
  /** `unconfined`, `builtin`, or a profile's JSON; undefined where nothing was said. */
  seccomp?: string
  apparmor?: string
  /** Of SELinux: `disable`, `type:…`. */
  labels: string[]
  writableCgroups?: boolean
}

const truth = (option: string, value: string): boolean => {
  const parsed = truthOf(value)
  if (parsed === undefined) throw badRequest(`invalid --security-opt 2: ${JSON.stringify(option)}`)
  return parsed
}

/** Errors: `bad-request` in Docker's words. */
export const parseSecurityOptions = (
  options: readonly string[],
  defaults: Pick<SecurityOptions, 'noNewPrivileges'> = { noNewPrivileges: false },
): SecurityOptions => {
  const parsed: SecurityOptions = { noNewPrivileges: defaults.noNewPrivileges, labels: [] }
  for (const option of options) {
    if (option === 'no-new-privileges') parsed.noNewPrivileges = true
    else if (option === 'writable-cgroups') parsed.writableCgroups = true
    else if (option === 'disable') parsed.labels.push(option)
    else {
      const separator = option.includes('=') ? '=' : ':'
      const at = option.indexOf(separator)
      if (at < 0) throw badRequest(`invalid --security-opt 1: ${JSON.stringify(option)}`)
      const value = option.slice(at + 1)
      const name = option.slice(0, at)
      if (name === 'no-new-privileges') parsed.noNewPrivileges = truth(option, value)
      else if (name === 'writable-cgroups') parsed.writableCgroups = truth(option, value)
      else if (name === 'seccomp') {
        if (value !== '') parsed.seccomp = value
      } else if (name === 'apparmor') parsed.apparmor = value
      else if (name === 'label') parsed.labels.push(value)
      else throw badRequest(`invalid --security-opt 2: ${JSON.stringify(option)}`)
    }
  }
  return parsed
}

/** What follows `label=`. */
const labelForm = /^(disable|(user|role|level|type|filetype):.*)$/

/** Refuses security options that Docker does not know, whether or not this host has what they are for. Errors: `bad-request`. */
export const checkSecurityOptions = (options: readonly string[]): void => {
  const { seccomp, labels } = parseSecurityOptions(options)
  if (seccomp !== undefined && seccomp !== 'unconfined' && seccomp !== 'builtin') parseSeccompProfile(seccomp)
  for (const label of labels)
    if (!labelForm.test(label))
      throw badRequest(
        `bad label option ${JSON.stringify(label)}, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value`,
      )
}
