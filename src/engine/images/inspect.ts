import { zeroTime } from '../../core/clock.ts'
import type { ImageConfig, ImageRunConfig } from '../../oci/image.ts'
import type { HistoryItem, ImageInspect } from '../../wire/image.ts'
import type { ApiVersion } from '../../wire/version.ts'
import { configZero } from '../containers/inspectConfig.ts'
import type { Engine } from '../engine.ts'
import type { Resolved } from './images.ts'
import { repoDigests } from './list.ts'
import { identityOf, imageSize, manifestSummaries } from './manifests.ts'
import { runConfigOf } from './runConfig.ts'
import { targetOf } from './siblings.ts'
import type { ImageRecord, ImageTarget } from './types.ts'

/** What an image's configuration had in 1.50 and 1.51, set or not. */
const shownAlways = {
  Cmd: null,
  Entrypoint: null,
  Env: null,
  Labels: null,
  OnBuild: null,
  User: '',
  Volumes: null,
  WorkingDir: '',
}

/** What an image can have, of whatever its maker wrote; fewer fields that are not set from version to version. */
const shownConfig = (given: ImageRunConfig | undefined, version: ApiVersion): object => {
  const config = runConfigOf(given ?? {})
  if (version.atLeast('1.52')) return config
  return version.atLeast('1.50') ? { ...shownAlways, ...config } : { ...configZero, Labels: null, ...config }
}

const given = (fields: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))

/** Texts that an image may not have: there in any case until 1.51. */
const textsOf = ({ config, parent }: ImageRecord, version: ApiVersion): Record<string, string> => {
  const texts = {
    Parent: parent,
    Comment: config.comment || (config.history?.at(-1)?.comment ?? ''),
    DockerVersion: config.docker_version ?? '',
    Author: config.author ?? '',
  }
  const created = config.created ?? (version.atLeast('1.44') ? '' : zeroTime)
  return {
    ...(version.atLeast('1.52') ? given(texts) : texts),
    ...given({ Created: created, Variant: config.variant ?? '', OsVersion: config['os.version'] ?? '' }),
  }
}

/** What went with 1.44 and 1.45. */
const oldFields = (config: ImageConfig, size: number, version: ApiVersion): Partial<ImageInspect> => ({
  ...(version.atLeast('1.44') ? {} : { VirtualSize: size }),
  ...(version.atLeast('1.45')
    ? {}
    : {
        Container: config.container ?? '',
        ContainerConfig: { ...configZero, Labels: null, ...config.container_config },
      }),
})

const graphDriver = async (engine: Engine, { config }: ImageRecord): Promise<ImageInspect['GraphDriver']> => {
  const layers = (await engine.layers.find(config.rootfs.diff_ids)) ?? []
  const [upper = '', ...lower] = layers.map(layer => layer.path).reverse()
  const LowerDir = lower.length > 0 ? { LowerDir: lower.join(':') } : {}
  return { Name: 'overlay2', Data: { ...LowerDir, MergedDir: '', UpperDir: upper, WorkDir: '' } }
}

/** The one of an image and its siblings that has the names. */
const namedOf = (engine: Engine, image: ImageRecord): ImageRecord =>
  engine.images.tagsOf(image.id).length > 0
    ? image
    : (engine.images.siblingsOf(image).find(({ id }) => engine.images.tagsOf(id).length > 0) ?? image)

export interface InspectOptions {
  version: ApiVersion
  manifests: boolean
  /** This platform's image alone is meant. */
  isPlatform: boolean
}

/** What goes with the target. */
const targetFields = async (
  engine: Engine,
  target: ImageTarget | undefined,
  { version, manifests, isPlatform }: InspectOptions,
): Promise<Partial<ImageInspect>> => {
  if (!target) return {}
  const { descriptor, manifest } = target
  const Identity = version.atLeast('1.53') ? identityOf(engine, descriptor) : undefined
  return {
    ...(version.atLeast('1.48') ? { Descriptor: isPlatform ? manifest : descriptor } : {}),
    ...(manifests ? { Manifests: await manifestSummaries(engine, descriptor, { identity: false }) } : {}),
    ...(Identity ? { Identity } : {}),
  }
}

/** `GET /images/{name}/json` */
export const inspectImage = async (
  engine: Engine,
  { image, target }: Resolved,
  options: InspectOptions,
): Promise<ImageInspect> => {
  const { config } = image
  const { version } = options
  const named = namedOf(engine, image)
  const Size = await imageSize(engine, image)
  return {
    Id: image.id,
    RepoTags: engine.images.namesOf(named.id).tags,
    RepoDigests: repoDigests(engine, named),
    ...textsOf(image, version),
    Config: shownConfig(config.config, version),
    Architecture: config.architecture,
    Os: config.os,
    Size,
    ...oldFields(config, Size, version),
    GraphDriver: await graphDriver(engine, image),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: named.lastTagged },
    ...(await targetFields(engine, targetOf(image, target), options)),
  }
}

/** `GET /images/{name}/history`, newest first. */
export const imageHistory = async (engine: Engine, image: ImageRecord): Promise<HistoryItem[]> => {
  const layers = (await engine.layers.find(image.config.rootfs.diff_ids)) ?? []
  const { tags } = engine.images.namesOf(namedOf(engine, image).id)
  let layer = 0
  const entries: HistoryItem[] = (image.config.history ?? []).map(entry => ({
    Id: '<missing>',
    Created: Math.floor(Date.parse(entry.created ?? '') / 1000) || 0,
    CreatedBy: entry.created_by ?? '',
    Tags: null,
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
