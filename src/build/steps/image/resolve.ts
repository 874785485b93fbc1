import { hasCode } from '../../../core/errors.ts'
import type { Engine } from '../../../engine/engine.ts'
import { checkIsImage, planPull } from '../../../engine/images/pullPlan.ts'
import { reachTarget } from '../../../engine/images/reach.ts'
import type { ImageRecord } from '../../../engine/images/types.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Descriptor, ImageConfig } from '../../../oci/image.ts'
import type { Platform } from '../../../oci/platform.ts'
import { canonical, parseReference, type Reference, withDefaultTag } from '../../../oci/reference.ts'
import type { Credentials, ImageSource } from '../../../registry-client/types.ts'
import type { ResolveMode } from '../../plan/types.ts'
import type { Tree } from '../../solver/types.ts'

/** What a build begins with: an image that is here, or one of a registry, of which nothing but documents is fetched yet. */

export interface AskedImage {
  reference: string
  platform: Platform
  resolve: ResolveMode
  /** Of the client, for a registry. */
  credentials(domain: string, signal: AbortSignal): Promise<Credentials | undefined>
  signal: AbortSignal
}

export interface BaseImage {
  config: ImageConfig
  /** Of what the name stands for: an index or a manifest. */
  digest: Digest
  tree: Tree
}

const treeOf = (config: ImageConfig, layers: readonly Descriptor[], reference: Reference): Tree => ({
  layers: layers.map(({ digest: blob, size, mediaType }, index) => ({
    kind: 'image',
    diffId: config.rootfs.diff_ids[index] ?? blob,
    ...{ blob, size, mediaType },
    reference: canonical(reference),
  })),
})

const ofStore = async (
  engine: Engine,
  { image, target }: { image: ImageRecord; target: Digest | undefined },
  reference: Reference,
): Promise<BaseImage | undefined> => {
  const found = image.targets.find(({ descriptor }) => descriptor.digest === target) ?? image.targets[0]
  const reached = found && (await reachTarget(engine, found.manifest))
  if (!found || !reached) return undefined
  return {
    config: image.config,
    digest: found.descriptor.digest,
    tree: treeOf(image.config, reached.layers, reference),
  }
}

/** Undefined where none of the name is here for the platform. */
export const localImage = async (
  engine: Engine,
  { reference, platform }: Pick<AskedImage, 'reference' | 'platform'>,
  name: Reference,
): Promise<BaseImage | undefined> => {
  try {
    const { image, target } = engine.images.resolve(reference, platform)
    return await ofStore(engine, { image, target }, name)
  } catch (error) {
    if (hasCode(error, 'no-such-image') || hasCode(error, 'platform-mismatch')) return undefined
    throw error
  }
}

/** An image wherever it is taken from, by its digest or tag. Errors: those of the source; `no-such-platform`. */
export const imageOf = async (
  repository: ImageSource,
  { platform, signal }: Pick<AskedImage, 'platform' | 'signal'>,
  name: Reference,
): Promise<BaseImage> => {
  const answer = await repository.manifest(name.digest ?? name.tag ?? 'latest', signal)
  checkIsImage(answer)
  const { config, target, layers } = await planPull(answer, { repository, platform, signal })
  return { config, digest: target.digest, tree: treeOf(config, layers, name) }
}

const remote = async (engine: Engine, asked: AskedImage, name: Reference): Promise<BaseImage> => {
  const { domain, path } = name
  const credentials = await asked.credentials(domain, asked.signal)
  return await imageOf(engine.registries.repository(domain, path, credentials), asked, name)
}

/** Errors: those of the registry, in Docker's words; `no-such-platform`. */
export const resolveImage = async (engine: Engine, asked: AskedImage): Promise<BaseImage> => {
  const name = withDefaultTag(parseReference(asked.reference))
  const found = asked.resolve === 'pull' ? undefined : await localImage(engine, asked, name)
  return found ?? (await remote(engine, asked, name))
}
