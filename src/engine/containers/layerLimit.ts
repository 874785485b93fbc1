import { badRequest, internal } from '../../core/errors.ts'
import type { HostConfig } from '../../wire/container.ts'
import { readSize } from '../../wire/sizes.ts'
import type { Engine } from '../engine.ts'

/**
 * Most bytes that a container's writable layer comes to hold: `--storage-opt size=…`, else what the daemon was told.
 * Errors: `bad-request`; 500 in Docker's words where the file system has no quotas.
 */
export const layerLimit = (engine: Engine, { StorageOpt: options }: HostConfig): number | undefined => {
  const given = new Map(Object.entries(options ?? {}).map(([key, value]) => [key.toLowerCase(), value]))
  const size = given.get('size')
  const limit = size === undefined ? engine.settings.layerLimit : readSize(size)
  if (limit > 0 && !engine.uppers.canLimit)
    throw internal("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
  for (const key of given.keys()) if (key !== 'size') throw badRequest(`Unknown option ${key}`)
  return limit > 0 ? limit : undefined
}
