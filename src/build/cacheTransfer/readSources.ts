import { BerthError, hasCode } from '../../core/errors.ts'
import type { Engine } from '../../engine/engine.ts'
import { indexOf, manifestOf, parseDocument, readConfig } from '../../engine/images/pullPlan.ts'
import { type Descriptor, type ImageConfig, isIndexType, isManifestType } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { canonical, familiar, type Reference } from '../../oci/reference.ts'
import type { ManifestAnswer, Repository } from '../../registry-client/types.ts'
import { inlineCacheField } from '../export/imageConfig.ts'
import type { CredentialsOf } from '../export/push.ts'
import type { Tree } from '../solver/types.ts'
import { type BaseImage, localImage, resolveImage } from '../steps/image/resolve.ts'
import { type ReadCache, readCacheForm, readRecords } from './readForm.ts'
import { cacheConfigType } from './types.ts'

/** Reads caches of registries: such as were exported there, and those within images. */

export interface ReadingCache {
  engine: Engine
  name: Reference
  /** Images of these are looked into. */
  platforms: readonly Platform[]
  credentials: CredentialsOf
  signal: AbortSignal
}

const inlineText = (config: ImageConfig): string | undefined => {
  const value = (config as unknown as Record<string, unknown>)[inlineCacheField]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Every layer lies on the one before it. */
const placedOf = ({ layers }: Tree) =>
  layers.flatMap((layer, index) => (layer.kind === 'image' ? [{ layer, parent: index - 1 }] : []))

/** Undefined where an image has none. */
const readInline = ({ config, tree }: BaseImage): ReadCache | undefined => {
  const text = inlineText(config)
  if (text === undefined) return undefined
  const records = parseDocument<unknown>(Buffer.from(text, 'base64'), `the cache within an image`)
  return readRecords(records, placedOf(tree))
}

const joined = (all: readonly ReadCache[]): ReadCache => ({
  records: all.flatMap(({ records }) => records),
  others: all.reduce((sum, { others }) => sum + others, 0),
})

/** An image of the store has it at hand, as Docker looks for it there first. */
const readLocal = async (reading: ReadingCache): Promise<ReadCache | undefined> => {
  const { engine, name, platforms } = reading
  const found: ReadCache[] = []
  for (const platform of platforms) {
    const image = await localImage(engine, { reference: canonical(name), platform }, name)
    const cache = image && readInline(image)
    if (cache) found.push(cache)
  }
  return found.length > 0 ? joined(found) : undefined
}

/** What has a cache's records, of a list of layers or a manifest of them; undefined of an image. */
const configOf = (answer: ManifestAnswer): Descriptor | undefined => {
  const { mediaType } = answer.descriptor
  const isConfig = (descriptor: Descriptor): boolean => descriptor.mediaType === cacheConfigType
  if (isIndexType(mediaType)) return indexOf(answer).manifests.find(isConfig)
  if (!isManifestType(mediaType)) return undefined
  const { config } = manifestOf(answer)
  return isConfig(config) ? config : undefined
}

const readExported = async (
  repository: Repository,
  config: Descriptor,
  { name, signal }: ReadingCache,
): Promise<ReadCache> => {
  const bytes = await readConfig(config, { repository, platform: undefined, signal })
  return readCacheForm(parseDocument(bytes, `the cache ${familiar(name)}`), canonical(name))
}

const readImages = async (reading: ReadingCache): Promise<ReadCache> => {
  const { engine, name, platforms, credentials, signal } = reading
  const found: ReadCache[] = []
  for (const platform of platforms)
    try {
      const asked = { reference: canonical(name), platform, resolve: 'pull', credentials, signal } as const
      const cache = readInline(await resolveImage(engine, asked))
      if (cache) found.push(cache)
    } catch (error) {
      if (!hasCode(error, 'no-such-platform')) throw error
    }
  if (found.length === 0)
    throw new BerthError(
      'no-cache',
      404,
      `${familiar(name)} is an image without a cache: build it with --cache-to type=inline`,
    )
  return joined(found)
}

/** Errors: those of the registry, `no-cache` of an image without one, `bad-request` for what makes no sense. */
export const readRegistryCache = async (reading: ReadingCache): Promise<ReadCache> => {
  const local = await readLocal(reading)
  if (local) return local
  const { engine, name, credentials, signal } = reading
  const repository = engine.registries.repository(
    name.domain,
    name.path,
    await credentials(name.domain, signal),
  )
  const answer = await repository.manifest(name.digest ?? name.tag ?? 'latest', signal)
  const config = configOf(answer)
  if (config) return await readExported(repository, config, reading)
  return await readImages(reading)
}
