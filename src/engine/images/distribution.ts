import { type ImageConfig, isIndexType } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { Credentials, ManifestAnswer } from '../../registry-client/types.ts'
import type { Engine } from '../engine.ts'
import { checkIsImage, indexOf, manifestOf, type PlanOptions, parseDocument, readConfig } from './pullPlan.ts'

export interface InspectRequest {
  name: Reference
  credentials: Credentials | undefined
  signal: AbortSignal
}

/** What a configuration says that it is for; undefined where it cannot be had, or says nothing. */
const platformOf = async (answer: ManifestAnswer, options: PlanOptions): Promise<Platform | undefined> => {
  try {
    const bytes = await readConfig(manifestOf(answer).config, options)
    const { os, architecture, variant } = parseDocument<ImageConfig>(bytes, 'the image configuration')
    if (!os && !architecture) return undefined
    return { architecture: architecture ?? '', os: os ?? '', ...(variant ? { variant } : {}) }
  } catch {
    // As Docker: what can be told without it is told.
    options.signal.throwIfAborted()
    return undefined
  }
}

/** `GET /distribution/{name}/json`: what a registry has under a name. Errors: the registry's, in Docker's words. */
export const inspectDistribution = async (
  engine: Engine,
  { name, credentials, signal }: InspectRequest,
): Promise<object> => {
  const { domain, path, tag, digest } = withDefaultTag(name)
  const repository = engine.registries.repository(domain, path, credentials)
  const answer = await repository.manifest(digest ?? tag ?? 'latest', signal)
  checkIsImage(answer)
  const { mediaType, digest: found, size } = answer.descriptor
  const Descriptor = { mediaType, digest: found, size }
  if (isIndexType(mediaType))
    return { Descriptor, Platforms: indexOf(answer).manifests.map(({ platform }) => platform ?? {}) }
  const platform = await platformOf(answer, { repository, platform: undefined, signal })
  return { Descriptor, Platforms: platform ? [platform] : null }
}
