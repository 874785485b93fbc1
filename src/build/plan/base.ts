import { messageOf } from '../../core/errors.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { canonical, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import { quote } from '../dockerfile/characters.ts'
import { checkBasePlatform } from '../dockerfile/checks/values.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { suggest } from '../dockerfile/suggestion.ts'
import type { Draft } from '../graph/draft.ts'
import { at, atAsync, placed } from './errors.ts'
import { askImage } from './image.ts'
import { findNamedContext, loadNamedContext } from './namedContext.ts'
import { platformText, samePlatform } from './platform.ts'
import { type PlannedStage, type Planning, withConfig } from './stage.ts'
import { platformOf } from './stages.ts'
import { nextStepName, placeOf } from './step.ts'

/** What stages are built on that is no stage: images, named contexts, nothing. */

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const emptyImage = (platform: Platform): ImageConfig => ({
  ...platform,
  rootfs: { type: 'layers', diff_ids: [] },
  config: { WorkingDir: '/', Env: [`PATH=${defaultPath}`] },
})

export const platformOfImage = ({ os, architecture, variant, ...more }: ImageConfig): Platform => ({
  os,
  architecture,
  ...(variant ? { variant } : {}),
  ...(more['os.version'] ? { 'os.version': more['os.version'] } : {}),
  ...(more['os.features'] ? { 'os.features': more['os.features'] } : {}),
})

const begin = (
  stage: PlannedStage,
  { fileSystem, image, platform }: { fileSystem: Draft | undefined; image: ImageConfig; platform: Platform },
): void => {
  stage.fileSystem = fileSystem
  stage.image = withConfig(image)
  stage.platform = platform
}

/** A stage in whose stead files of the client or an image are taken. */
const loadReplacement = async (planning: Planning, stage: PlannedStage): Promise<void> => {
  const { namedContext: context } = stage
  if (!context) return
  const platform = platformOf(planning, stage)
  const { fileSystem, image, usedPaths } = await loadNamedContext({ planning, context, platform })
  const own = image && image.os !== '' && image.architecture !== '' ? platformOfImage(image) : platform
  begin(stage, {
    fileSystem,
    image: image ?? { ...platform, rootfs: { type: 'layers', diff_ids: [] } },
    platform: own,
  })
  if (usedPaths) stage.usedPaths = usedPaths
  delete stage.image.config.OnBuild
  stage.isDone = true
}

const hasLayers = ({ rootfs, history }: ImageConfig): boolean =>
  (rootfs?.diff_ids?.length ?? 0) > 0 || (history?.some(entry => !entry.empty_layer) ?? false)

/** Names that users have in mind when they mistype one. */
const commonImages = ['alpine', 'busybox', 'centos', 'debian', 'golang', 'ubuntu', 'fedora'].flatMap(name => [
  name,
  `docker.io/library/${name}`,
  `${name}:latest`,
  `docker.io/library/${name}:latest`,
])

const notFound = (planning: Planning, stage: PlannedStage, error: unknown): unknown => {
  const wrong = placed(error, stage.range, `${stage.baseName}: `)
  if (!(wrong instanceof DockerfileError)) return error
  const names = planning.stages.map(({ name }) => name).filter(name => name !== '')
  const meant = suggest(stage.baseName, [...names, ...commonImages])
  if (meant === undefined) return wrong
  return new DockerfileError(`${messageOf(wrong)} (did you mean ${meant}?)`, wrong.ranges, {
    cause: wrong.cause,
  })
}

/** Without a wish for a platform: that of the image, where the builder is of it. */
const detected = (planning: Planning, stage: PlannedStage, image: ImageConfig): Platform => {
  const wanted = platformOf(planning, stage)
  const { targetPlatform, buildPlatform } = planning.request
  if (stage.platform || targetPlatform || samePlatform(wanted, image)) return wanted
  return samePlatform(buildPlatform, image) ? buildPlatform : wanted
}

const loadImage = async (planning: Planning, stage: PlannedStage, reference: Reference): Promise<void> => {
  const wanted = platformOf(planning, stage)
  const shown = planning.request.multiPlatform ? `${platformText(wanted)} internal` : 'internal'
  const name = canonical(reference)
  const asked = { reference, platform: wanted, step: `[${shown}] load metadata for ${name}` }
  const { config, exact } = await askImage(planning, asked).catch(error => {
    throw notFound(planning, stage, error)
  })
  const platform = detected(planning, stage, config)
  stage.baseImage = config
  begin(stage, { fileSystem: undefined, image: config, platform })
  if (!hasLayers(config)) return
  stage.fileSystem = {
    operation: { kind: 'image', reference: exact, resolve: planning.request.resolve },
    inputs: [],
    platform,
    step: {
      name: nextStepName(planning, stage, `FROM ${exact}`),
      source: placeOf(planning, stage.range),
      described: `FROM ${stage.baseName}`,
    },
  }
  stage.isFetched = true
}

/** Whether an image that was found is for the platform that was wanted. */
export const checkBase = ({ checker }: Planning, stage: PlannedStage): void => {
  const { platform, baseImage } = stage
  if (!stage.isFetched || !platform || !baseImage) return
  const actual = platformOfImage(baseImage)
  checkBasePlatform(checker, stage, { image: stage.baseName, expected: platform, actual })
}

const load = async (planning: Planning, stage: PlannedStage): Promise<void> => {
  const platform = platformOf(planning, stage)
  if (stage.namedContext) return await loadReplacement(planning, stage)
  if (stage.baseName === 'scratch') {
    const { targetPlatform } = planning
    begin(stage, { fileSystem: undefined, image: emptyImage(targetPlatform), platform: targetPlatform })
    return
  }
  const reference = withDefaultTag(
    at(
      stage.range,
      () => parseReference(stage.baseName),
      `failed to parse stage name ${quote(stage.baseName)}: `,
    ),
  )
  const context = findNamedContext(planning, canonical(reference), platform)
  if (!context) return await loadImage(planning, stage, reference)
  const {
    fileSystem,
    image = emptyImage(platform),
    usedPaths,
  } = await loadNamedContext({
    planning,
    context,
    platform,
  })
  stage.baseImage = image
  begin(stage, { fileSystem, image, platform })
  if (usedPaths) stage.usedPaths = usedPaths
}

/** Finds out what a stage without a stage below it begins with. */
export const resolveBase = (planning: Planning, stage: PlannedStage): Promise<void> =>
  atAsync(stage.range, async () => {
    await load(planning, stage)
    // Nothing happens to what only COPY and mounts name.
    if (!stage.stage) stage.isDone = true
  })
