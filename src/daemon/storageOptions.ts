import { badRequest } from '../core/errors.ts'
import type { EngineSettings } from '../engine/settings.ts'
import { hasProjectQuotas } from '../linux/projectQuota.ts'
import { readSize } from '../wire/sizes.ts'

/** Of `--storage-opt overlay2.size=…`, in bytes; 0 for no limit. Errors: `bad-request` in dockerd's words. */
export const layerLimitOf = (given: unknown): number => {
  let limit = 0
  for (const option of (given as string[] | undefined) ?? []) {
    const at = option.indexOf('=')
    if (at <= 0) throw badRequest(`unable to parse storage-opt key/value: ${option}`)
    const [key, value] = [option.slice(0, at).toLowerCase(), option.slice(at + 1)]
    if (key !== 'overlay2.size') throw badRequest(`overlay2: unknown option ${key}`)
    limit = readSize(value)
  }
  return limit
}

/** Errors: `bad-request` where the file system of the data root cannot hold to a limit. */
export const checkLayerLimit = ({ dataRoot, layerLimit }: EngineSettings): void => {
  if (layerLimit > 0 && !hasProjectQuotas(dataRoot))
    throw badRequest(
      `Storage option overlay2.size not supported. Filesystem does not support Project Quota: mount that of ${dataRoot} with pquota (XFS) or prjquota (ext4)`,
    )
}
