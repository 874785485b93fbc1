import { decompress } from '../../archive/compression.ts'
import { untilAborted } from '../../core/abort.ts'
import { nowText } from '../../core/clock.ts'
import { badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Reference } from '../../oci/reference.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { assembleImage, plainLayer, publishTag, unreadable, withIncoming } from './assemble.ts'
import { applyChanges } from './changes.ts'
import { hostPlatform } from './reach.ts'
import { runConfigOf } from './runConfig.ts'
import type { ImageRecord } from './types.ts'

export interface ImportRequest {
  /** A file tree as an archive, compressed or not. */
  source: AsyncIterable<Uint8Array>
  name: Reference | undefined
  /** This host's unless told. */
  platform: Platform | undefined
  /** The history's comment. */
  message: string
  /** Dockerfile instructions. */
  changes: readonly string[]
  operation: Operation
}

/** `POST /images/create?fromSrc=-`: an image of one layer. Errors: `bad-request` for the archive or the changes. */
export const importImage = async (engine: Engine, request: ImportRequest): Promise<ImageRecord> => {
  const { name, message, operation, platform = hostPlatform } = request
  if (platform.os !== 'linux') throw badRequest(`operating system is not supported: ${platform.os}`)
  const run = runConfigOf(applyChanges({}, request.changes))
  const image = await withIncoming(engine, operation.signal, async brought => {
    operation.at('reading the archive')
    const source = untilAborted(operation.signal, request.source)
    const layer = await engine.content.write((await decompress(source)).stream)
    brought.push(layer.digest)
    failpoint('import.layer')
    const created = nowText()
    const config: ImageConfig = {
      created,
      architecture: platform.architecture,
      os: platform.os,
      ...(platform.variant ? { variant: platform.variant } : {}),
      config: run,
      comment: message,
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      history: [{ created, comment: message }],
    }
    const layers = [{ descriptor: plainLayer(layer), diffId: layer.digest }]
    return assembleImage(engine, { config, layers, name, operation }, brought)
  }).catch(error => {
    throw unreadable('import', error)
  })
  publishTag(engine, image.id, name)
  engine.events.publish('image', 'import', image.id, { name: image.id })
  return image
}
