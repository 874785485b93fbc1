import { BerthError, badRequest, conflict } from '../../core/errors.ts'
import type { Filters } from '../../wire/filters.ts'
import type { ImageDeleteItem } from '../../wire/image.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { dropFetched } from './collect.ts'
import { selectImages } from './list.ts'
import { deleteImage, isNeeded } from './remove.ts'

export const pruneFilters = ['dangling', 'label', 'label!', 'until']

const underWay = new WeakSet<Engine>()

/**
 * `POST /images/prune`: images without a tag, or with `dangling=false` every image without a container. A cancelled
 * one keeps what it had removed removed. Errors: `conflict` where one is under way.
 */
export const pruneImages = async (
  engine: Engine,
  filters: Filters,
  operation: Operation,
): Promise<{ ImagesDeleted: ImageDeleteItem[]; SpaceReclaimed: number }> => {
  if (filters.get('until').length > 1) throw badRequest('more than one until filter specified')
  const danglingOnly = filters.flag('dangling') ?? true
  if (underWay.has(engine)) throw conflict('a prune operation is already running')
  underWay.add(engine)
  try {
    const before = await storedBytes(engine)
    const ImagesDeleted = await removeUnused(engine, { filters, danglingOnly }, operation)
    // With filters that choose among images, what belongs to none is left alone.
    if (!pruneFilters.some(key => key !== 'dangling' && filters.has(key))) {
      operation.at('removing what pulls that did not come to their end left')
      await dropFetched(engine)
    }
    return { ImagesDeleted, SpaceReclaimed: Math.max(0, before - (await storedBytes(engine))) }
  } finally {
    underWay.delete(engine)
  }
}

const removeUnused = async (
  engine: Engine,
  { filters, danglingOnly }: { filters: Filters; danglingOnly: boolean },
  operation: Operation,
): Promise<ImageDeleteItem[]> => {
  const removed: ImageDeleteItem[] = []
  for (const image of selectImages(engine, filters.without('dangling'), true)) {
    if (danglingOnly && engine.images.namesOf(image.id).tags.length > 0) continue
    if (!engine.images.byId(image.id) || isNeeded(engine, image)) continue
    operation.at(`removing ${image.id}`)
    try {
      removed.push(...(await deleteImage(engine, image)))
    } catch (error) {
      // Somebody began to use it meanwhile: it stays.
      if (!(error instanceof BerthError) || error.status !== 409) throw error
    }
  }
  return removed
}

const storedBytes = async (engine: Engine): Promise<number> => {
  let bytes = 0
  for (const layer of await engine.layers.list()) bytes += layer.size
  for await (const blob of engine.content.list()) bytes += blob.size
  for await (const partial of engine.content.partials()) bytes += partial.size
  return bytes
}
