import { newId } from '../../core/ids.ts'
import { withIncoming } from '../../engine/images/assemble.ts'
import type { ImageRecord } from '../../engine/images/types.ts'
import { chainId, type Digest } from '../../oci/digest.ts'
import type { HistoryEntry, ImageConfig } from '../../oci/image.ts'
import type { Reference } from '../../oci/reference.ts'
import { dateOf } from '../plan/history.ts'
import type { Plan } from '../plan/types.ts'
import type { Tree } from '../solver/types.ts'
import { squashLayers } from '../steps/file/squash.ts'
import { namedImage, storedLayers } from './image.ts'
import { inlineCacheField } from './imageConfig.ts'
import type { ExportStep } from './types.ts'

/** `--squash`: one layer of all that a build added to its base image, as moby's `SquashImage` makes it. */

export interface SquashRequest {
  /** The build's image as it is, which stays. */
  image: ImageRecord
  plan: Pick<Plan, 'baseImage' | 'epoch'>
  /** Held by the caller. */
  tree: Tree
  names: readonly Reference[]
}

const isBelow = (tree: Tree, base: ImageConfig): boolean =>
  base.rootfs.diff_ids.every((diffId, index) => {
    const layer = tree.layers[index]
    return layer?.kind === 'image' && layer.diffId === diffId
  })

/** What an image says of its layers for later builds is not true of others. */
const withoutCache = (config: ImageConfig): ImageConfig => {
  const { [inlineCacheField]: _, ...rest } = config as ImageConfig & { [inlineCacheField]?: string }
  return rest
}

/** Entries beyond the base image's tell of no layer any more; one more does. */
export const squashedConfig = (
  { id, config }: { id: Digest; config: ImageConfig },
  {
    base,
    baseId,
    layers,
    created,
  }: {
    base: ImageConfig | undefined
    baseId: string
    /** Diff ids, bottom first. */
    layers: Digest[]
    /** RFC 3339 */
    created: string
  },
): ImageConfig => {
  const own = base?.history?.length ?? 0
  const history = (config.history ?? []).map(
    (entry, index): HistoryEntry => (index < own ? entry : { ...entry, empty_layer: true }),
  )
  const comment = base ? `merge ${id} to ${baseId}` : `create new from ${id}`
  return {
    ...withoutCache(config),
    created,
    rootfs: { type: 'layers', diff_ids: layers },
    history: [...history, { created, comment }],
  }
}

/** The id of the base image, where it is an image here; else what its layers are known by. */
const idOfBase = ({ engine }: ExportStep, base: ImageConfig): string =>
  engine.images.all().find(({ config }) => config === base)?.id ?? chainId(base.rootfs.diff_ids)

/** The second image. Errors: those of exports. */
export const squashImage = async (
  step: ExportStep,
  { image, plan, tree, names }: SquashRequest,
): Promise<ImageRecord> => {
  const { engine, snapshots, operation } = step
  const { signal } = operation
  using here = await step.bring(tree)
  const base = plan.baseImage && isBelow(here, plan.baseImage) ? plan.baseImage : undefined
  const count = base?.rootfs.diff_ids.length ?? 0
  const created = plan.epoch === undefined ? new Date().toISOString() : dateOf(plan.epoch)
  const all = await step.layersOf(here)
  const id = newId()
  const parts = { below: all.slice(0, count), added: all.slice(count) }
  await squashLayers({ pool: engine.pool, snapshots, id, ...parts, signal })
  try {
    return await withIncoming(engine, signal, async brought => {
      const refs = [...here.layers.slice(0, count), { kind: 'snapshot' as const, id }]
      const origin = { created, description: '' }
      const layers = await storedLayers({ ...step, originOf: () => origin }, { layers: refs }, brought)
      const diffIds = layers.map(({ diffId }) => diffId)
      const baseId = base ? idOfBase(step, base) : ''
      const config = squashedConfig(image, { base, baseId, layers: diffIds, created })
      return await namedImage(step, { config, layers, names }, brought)
    })
  } finally {
    // As a layer of the image it stays.
    await snapshots.remove(id)
  }
}
