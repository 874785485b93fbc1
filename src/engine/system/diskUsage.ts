import type { ApiVersion } from '../../wire/version.ts'
import { listContainers } from '../containers/list.ts'
import type { Engine } from '../engine.ts'
import { imageSummary } from '../images/list.ts'

/** `GET /system/df` */
export const diskUsage = async (
  engine: Engine,
  options: { types: string[]; version: ApiVersion },
): Promise<object> => {
  const wants = (type: string): boolean => options.types.length === 0 || options.types.includes(type)
  const images = wants('image')
    ? await Promise.all(
        engine.images.all().map(image => imageSummary(engine, image, { sharedSize: true, manifests: false })),
      )
    : undefined
  const containers = wants('container')
    ? await listContainers(engine, {
        all: true,
        limit: -1,
        size: true,
        filters: undefined,
        version: options.version,
      })
    : undefined
  return {
    ...(images ? { LayersSize: await layersSize(engine), Images: images } : {}),
    ...(containers ? { Containers: containers } : {}),
    ...(wants('volume') ? { Volumes: [] } : {}),
    ...(wants('build-cache') ? { BuildCache: [], BuilderSize: 0 } : {}),
    ...(wants('container') && wants('image') ? { Berth: await onDisk(engine) } : {}),
  }
}

/** Every byte of layers and blobs: what images take on the disk. */
const layersSize = async (engine: Engine): Promise<number> => {
  const layers = await engine.layers.list()
  return layers.reduce((sum, layer) => sum + layer.size, 0)
}

/** Bytes as `du` counts them, by what owns them. */
const onDisk = async (engine: Engine): Promise<object> => {
  let blobs = 0
  for await (const blob of engine.content.list()) blobs += blob.size
  const layers = (await engine.layers.list()).reduce((sum, layer) => sum + layer.diskBytes, 0)
  let uppers = 0
  for (const id of await engine.uppers.list()) uppers += (await engine.uppers.usage(id)).diskBytes
  return { BlobBytes: blobs, LayerBytes: layers, ContainerBytes: uppers }
}
