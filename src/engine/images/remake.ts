import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'

/**
 * At a start, before containers are taken back: layers that a power cut took
 * from containers are unpacked again. Images unpack theirs when they are used.
 */
export const remakeLayers = async (engine: Engine): Promise<void> => {
  for (const { record } of engine.containers.all()) {
    if (await engine.layers.find(record.diffIds)) continue
    const image = engine.images.byId(record.imageId)
    try {
      if (!image) throw new Error('its image is gone too')
      await engine.images.layersOf(image)
      engine.log.info('layers that were not yet on disk when the host went down were unpacked again', {
        container: record.id,
      })
    } catch (error) {
      engine.log.error("a container's layers are missing", {
        container: record.id,
        error: messageOf(error),
      })
    }
  }
}
