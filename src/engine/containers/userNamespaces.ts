import { badRequest } from '../../core/errors.ts'
import { type IdMaps, rootOf } from '../../linux/idMaps.ts'
import type { MonitorSpec } from '../../runtime/types.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { parseSecurityOptions } from './securityOptions.ts'
import { rlimitNumber, specRlimits } from './specResources.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/**
 * The maps of a new container's user namespace; undefined where it gets none.
 * They stay with it: what it left in volumes has owners by them. Errors:
 * `bad-request` in Docker's words.
 */
export const newIdMaps = (
  { settings }: Engine,
  { UsernsMode, Privileged, NetworkMode, PidMode, SecurityOpt = [] }: HostConfig,
): IdMaps | undefined => {
  if (!settings.idMaps || UsernsMode === 'host') return undefined
  if (Privileged)
    throw badRequest(
      'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode',
    )
  if (NetworkMode === 'host')
    throw badRequest("cannot share the host's network namespace when user namespaces are enabled")
  if (PidMode === 'host')
    throw badRequest('cannot share the host PID namespace when user namespaces are enabled')
  if (parseSecurityOptions(SecurityOpt, settings.security).writableCgroups !== undefined)
    throw badRequest('option WritableCgroups conflicts with user namespaces and rootless mode')
  return settings.idMaps
}

/** Errors: `bad-request` where a bind is to be mapped by a user namespace that is not there. */
export const checkMappedByNamespace = (mounts: readonly MountPoint[], idMaps: IdMaps | undefined): void => {
  if (!idMaps && mounts.some(({ idMapping }) => idMapping?.source === 'userns'))
    throw badRequest(
      'invalid mount config for type "bind": IDMapping.Source "userns" needs a container with a user namespace of its own (--userns-remap gives containers one, unless they have --userns=host); use "match-user"',
    )
}

/** What its monitor does for a process in a container's own user namespace. */
export const monitorNamespace = ({
  idMaps,
  hostConfig,
}: ContainerRecord): Pick<MonitorSpec, 'userNamespace'> =>
  idMaps
    ? {
        userNamespace: {
          owner: rootOf(idMaps),
          ...(hostConfig.OomScoreAdj ? { oomScoreAdj: hostConfig.OomScoreAdj } : {}),
          hardLimits: specRlimits(hostConfig).map(({ type, hard }) => ({
            resource: rlimitNumber(type),
            hard,
          })),
        },
      }
    : {}
