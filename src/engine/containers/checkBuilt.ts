import { badRequest } from '../../core/errors.ts'
import type { HostConfig } from '../../wire/container.ts'

/**
 * Refuses options of a create that only other hosts have: what a user asked for is never left out in silence.
 * Errors: as Docker on Linux has them.
 */
export const checkBuilt = (hostConfig: HostConfig): void => {
  const { UsernsMode: userns, Isolation: isolation = '' } = hostConfig
  if (userns && userns !== 'host') throw badRequest(`invalid USER mode: ${userns}`)
  if (!['', 'default'].includes(isolation.toLowerCase()))
    throw badRequest(`invalid isolation (${isolation}): linux only supports 'default'`)
  if (hostConfig.IOMaximumBandwidth)
    throw badRequest('invalid option: QoS maximum bandwidth configuration is not supported on linux')
  if (hostConfig.IOMaximumIOps)
    throw badRequest('invalid option: QoS maximum IOPs configuration is not supported on linux')
}
