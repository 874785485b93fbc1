import type { ImageRunConfig } from '../../oci/image.ts'
import type { ApiVersion } from '../../wire/version.ts'
import { configZero } from '../containers/inspectConfig.ts'
import type { Engine } from '../engine.ts'
import { imageSize, manifestSummaries, repoDigests } from './list.ts'
import type { ImageRecord } from './types.ts'

/** From 1.50 on the fields that an image cannot have are left out. */
const shownConfig = (config: ImageRunConfig | undefined, version: ApiVersion): object =>
  version.atLeast('1.50') ? { ...config } : { ...configZero, Labels: null, ...config }

/** `GET /images/{name}/json` */
export const inspectImage = async (
  engine: Engine,
  image: ImageRecord,
  options: { version: ApiVersion; manifests: boolean },
): Promise<object> => {
  const { config } = image
  const layers = (await engine.layers.find(config.rootfs.diff_ids)) ?? []
  const paths = layers.map(layer => layer.path).reverse()
  const [upper = '', ...lower] = paths
  return {
    Id: image.id,
    RepoTags: engine.images.namesOf(image.id).tags,
    RepoDigests: repoDigests(engine, image),
    Parent: image.parent,
    Comment: config.comment ?? config.history?.at(-1)?.comment ?? '',
    Created: config.created ?? '0001-01-01T00:00:00Z',
    DockerVersion: config.docker_version ?? '',
    Author: config.author ?? '',
    Config: shownConfig(config.config, options.version),
    Architecture: config.architecture,
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os,
    ...(config['os.version'] ? { OsVersion: config['os.version'] } : {}),
    Size: await imageSize(engine, image),
    GraphDriver: {
      Name: 'overlay2',
      Data: {
        ...(lower.length ? { LowerDir: lower.join(':') } : {}),
        MergedDir: '',
        UpperDir: upper,
        WorkDir: '',
      },
    },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: image.lastTagged },
    ...(image.targets[0] ? { Descriptor: image.targets[0].descriptor } : {}),
    ...(options.manifests ? { Manifests: await manifestSummaries(engine, image) } : {}),
  }
}

/** `GET /images/{name}/history`, newest first. */
export const imageHistory = async (engine: Engine, image: ImageRecord): Promise<object[]> => {
  const layers = (await engine.layers.find(image.config.rootfs.diff_ids)) ?? []
  const { tags } = engine.images.namesOf(image.id)
  let layer = 0
  const entries = (image.config.history ?? []).map(entry => ({
    Id: '<missing>',
    Created: Math.floor(Date.parse(entry.created ?? '') / 1000) || 0,
    CreatedBy: entry.created_by ?? '',
    Tags: null as string[] | null,
    Size: entry.empty_layer ? 0 : (layers[layer++]?.size ?? 0),
    Comment: entry.comment ?? '',
  }))
  // Layers that the history does not tell of, as in an image made by hand.
  for (; layer < layers.length; layer++)
    entries.push({
      Id: '<missing>',
      Created: 0,
      CreatedBy: '',
      Tags: null,
      Size: layers[layer]?.size ?? 0,
      Comment: '',
    })
  entries.reverse()
  const [newest] = entries
  if (newest) {
    newest.Id = image.id
    newest.Tags = tags.length ? tags : null
  }
  return entries
}
