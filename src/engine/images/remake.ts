import { messageOf } from '../../core/errors.ts'
import { neededImages } from '../containers/imageMounts.ts'
import type { MountedImage } from '../containers/types.ts'
import type { Engine } from '../engine.ts'

const remake = async (engine: Engine, container: string, { id, diffIds }: MountedImage): Promise<void> => {
  if (await engine.layers.find(diffIds)) return
  const image = engine.images.byId(id)
  try {
    if (!image) throw new Error('its image is gone too')
    await engine.images.layersOf(image)
    engine.log.info('layers that were not yet on disk when the host went down were unpacked again', {
      container,
    })
  } catch (error) {
    engine.log.error("a container's layers are missing", { container, error: messageOf(error) })
  }
}

/**
 * At a start, before containers are taken back: layers that a power cut took
 * from containers are unpacked again. Images unpack theirs when they are used.
 */
export const remakeLayers = async (engine: Engine): Promise<void> => {
  for (const { id, record } of engine.containers.all())
    for (const image of neededImages(record)) await remake(engine, id, image)
}
