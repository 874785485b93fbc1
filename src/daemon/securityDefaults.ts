import { readFileSync } from 'node:fs'
import { badRequest, messageOf } from '../core/errors.ts'
import type { SecurityDefaults } from '../engine/settings.ts'
import { hostHasSelinux, readContexts } from '../linux/selinux.ts'
import { defaultProfile, parseSeccompProfile } from '../runtime/spec/seccomp.ts'
import type { Given } from './flags.ts'

const seccompOf = (name: string): SecurityDefaults['seccomp'] => {
  if (name === '' || name === 'builtin') return { name: 'builtin', profile: defaultProfile }
  if (name === 'unconfined') return { name, profile: undefined }
  let text: string
  try {
    text = readFileSync(name, 'utf8')
  } catch (error) {
    throw badRequest(`opening seccomp profile (${name}) failed: ${messageOf(error)}`, error)
  }
  try {
    return { name, profile: parseSeccompProfile(text) }
  } catch (error) {
    throw badRequest(`the seccomp profile ${name} cannot be used: ${messageOf(error)}`, error)
  }
}

/** What containers get that say nothing of it. Errors: `bad-request`, in dockerd's words where the profile cannot be read. */
export const securityDefaultsOf = (values: Given): SecurityDefaults => ({
  noNewPrivileges: values.get('no-new-privileges') === true,
  seccomp: seccompOf((values.get('seccomp-profile') as string | undefined) ?? ''),
  ...(values.get('selinux-enabled') === true && hostHasSelinux() ? { selinux: readContexts() } : {}),
})
