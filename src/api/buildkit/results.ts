import type { BuildOutcome, PlatformResult } from '../../build/export/types.ts'
import type { BuiltPlatform, PlannedPlatform } from '../../build/result.ts'
import { badRequest } from '../../core/errors.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { BuildResult } from './types.ts'

/** Results as clients hold them: refs, and metadata by BuildKit's names. */

export const jsonBytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

type Metadata = BuildResult['metadata']

/** `isMulti`: it is told by platforms. */
export const resultMetadata = (built: readonly PlannedPlatform[], isMulti: boolean): Metadata => {
  const metadata: Metadata = {}
  for (const { platform, plan } of built) {
    const suffix = isMulti ? `/${platform}` : ''
    metadata[`containerimage.config${suffix}`] = jsonBytes(plan.image)
    if (plan.baseImage) metadata[`containerimage.base.config${suffix}`] = jsonBytes(plan.baseImage)
    if (plan.epoch !== undefined) metadata[`source.date.epoch${suffix}`] = Buffer.from(String(plan.epoch))
  }
  const platforms = built.map(({ platform, plan }) => {
    const { os, architecture, variant } = plan.image
    return { ID: platform, Platform: { architecture, os, ...(variant ? { variant } : {}) } }
  })
  metadata['refs.platforms'] = jsonBytes({ Platforms: platforms })
  return metadata
}

/** Clients may change a configuration before they return it. */
const configOf = (metadata: Metadata, platform: string): ImageConfig | undefined => {
  const bytes = metadata[`containerimage.config/${platform}`] ?? metadata['containerimage.config']
  if (!bytes) return undefined
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as ImageConfig
  } catch (error) {
    throw badRequest('failed to unmarshal image config', error)
  }
}

/** As the frontend told of them: a map of a client's has no order. */
const inOrder = (refs: Record<string, string>, { 'refs.platforms': bytes }: Metadata): string[] => {
  let order: string[] = []
  try {
    const { Platforms } = JSON.parse(Buffer.from(bytes ?? []).toString()) as { Platforms: { ID: string }[] }
    order = Platforms.map(({ ID }) => ID)
  } catch {}
  const rank = (id: string): number => (order.includes(id) ? order.indexOf(id) : order.length)
  return Object.keys(refs)
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .map(id => refs[id] ?? '')
}

export const refsOf = ({ ref, refs }: BuildResult): string[] =>
  refs ? Object.values(refs) : ref ? [ref] : []

/** Errors: `bad-request` for a ref that no solve of the build gave. */
export const outcomeOf = (
  { ref, refs, metadata }: BuildResult,
  known: ReadonlyMap<string, BuiltPlatform>,
): BuildOutcome => {
  const all = refs ? inOrder(refs, metadata) : [ref ?? '']
  const platforms = all.map((one): PlatformResult => {
    const built = known.get(one)
    if (!built)
      throw badRequest('the result of the build is not known: a frontend’s own results are not exported')
    const { plan, platform: id, tree, results } = built
    const image = configOf(metadata, id) ?? plan.image
    const { os, architecture, variant } = image
    return {
      ...{ id, tree, image, results },
      platform: { os, architecture, ...(variant ? { variant } : {}) },
      ...(plan.baseImage ? { baseImage: plan.baseImage } : {}),
      ...(plan.epoch === undefined ? {} : { epoch: plan.epoch }),
    }
  })
  return { platforms, isMulti: refs !== undefined }
}
