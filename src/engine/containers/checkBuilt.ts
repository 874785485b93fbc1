import { badRequest, notImplemented } from '../../core/errors.ts'
import type { HostConfig } from '../../wire/container.ts'

/**
 * Refuses options of a create that this version does not have: what a user asked for is never left out in silence.
 * Errors: `not-implemented`; `bad-request` where Docker on Linux refuses, too.
 */
export const checkBuilt = (hostConfig: HostConfig): void => {
  const { DeviceRequests, StorageOpt, UsernsMode: userns, Isolation: isolation = '' } = hostConfig
  if (DeviceRequests?.length) throw notImplemented('a device request (--gpus)')
  if (Object.keys(StorageOpt ?? {}).length) throw notImplemented('a storage option (--storage-opt)')
  if (userns && userns !== 'host') throw badRequest(`invalid USER mode: ${userns}`)
  if (!['', 'default'].includes(isolation.toLowerCase()))
    throw badRequest(`invalid isolation (${isolation}): linux only supports 'default'`)
  if (hostConfig.IOMaximumBandwidth)
    throw badRequest('invalid option: QoS maximum bandwidth configuration is not supported on linux')
  if (hostConfig.IOMaximumIOps)
    throw badRequest('invalid option: QoS maximum IOPs configuration is not supported on linux')
}
