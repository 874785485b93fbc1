import { internal, messageOf } from '../../core/errors.ts'
import {
  hasProfileFile,
  hostHasAppArmor,
  isProfileLoaded,
  loadProfile,
  ownProfile,
} from '../../linux/appArmor.ts'
import { appArmorProfile } from '../../runtime/spec/appArmorProfile.ts'
import type { HostConfig } from '../../wire/container.ts'
import { parseSecurityOptions } from './securityOptions.ts'

/** Which AppArmor profile a container runs under. */

const byDefault = 'docker-default'

/** `given` is what `--security-opt apparmor=` says; undefined on a host that has no AppArmor. */
export const profileName = (
  { SecurityOpt: options = [], Privileged: privileged }: HostConfig,
  host: boolean,
): string | undefined => {
  if (!host) return undefined
  return parseSecurityOptions(options).apparmor || (privileged ? 'unconfined' : byDefault)
}

/** Others may take the default profile out at any time (an upgrade of AppArmor does): it is looked for before each use. */
export const ensureDefaultProfile = async (name: string | undefined): Promise<void> => {
  if (name !== byDefault || isProfileLoaded(byDefault)) return
  try {
    await loadProfile(appArmorProfile(byDefault, { daemon: ownProfile(), has: hasProfileFile }))
  } catch (error) {
    throw internal(
      `AppArmor enabled on system but the ${byDefault} profile could not be loaded: ${messageOf(error)}`,
      error,
    )
  }
}

/** Undefined on a host that has no AppArmor. Errors: 500 where the default profile cannot be loaded. */
export const containerProfile = async (hostConfig: HostConfig): Promise<string | undefined> => {
  const name = profileName(hostConfig, hostHasAppArmor())
  await ensureDefaultProfile(name)
  return name
}
