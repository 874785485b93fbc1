import { statfs } from 'node:fs/promises'
import { BerthError } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import type { Digest } from '../../../oci/digest.ts'
import { type CleanUpCall, planAlone } from '../../cleanUp/alone.ts'
import { imagesOf, stacksOf } from '../../containers/imageMounts.ts'
import type { Engine } from '../../engine.ts'
import type { CleanUpLimits } from '../../settings.ts'
import { collectGarbage } from '../collect.ts'
import { selectImages } from '../list.ts'
import { removeImage } from '../remove.ts'
import type { ImageRecord } from '../types.ts'
import { keepFilter } from './limits.ts'
import { type CleanUpPlan, type ImageFacts, type Part, planCleanUp, type Removal } from './plan.ts'

/** The clean-up of images that nobody has used for long, or that there is no space for. */

export const imageCleanUpSubject = { type: 'images', id: '', name: '' }

const layerPart = (key: Digest): string => `layer ${key}`

/** Of all platforms of an image: they go with it. */
const partsOf = (engine: Engine, members: readonly ImageRecord[]): Part[] => {
  const parts = new Map<string, Part>()
  const put = (id: string, bytes: number): void => void parts.set(id, { id, bytes })
  const stacks = members.map(({ config }) => config.rootfs.diff_ids)
  for (const { blobs, layers } of members.flatMap(({ targets }) => targets)) {
    for (const { digest, size } of blobs) put(`blob ${digest}`, size)
    stacks.push(layers.map(({ diffId }) => diffId))
  }
  for (const stack of stacks)
    for (const layer of engine.layers.present(stack)) if (layer) put(layerPart(layer.key), layer.diskBytes)
  return [...parts.values()]
}

const namesOf = (engine: Engine, id: Digest): string[] => {
  const { tags, digests } = engine.images.namesOf(id)
  return [...tags, ...digests]
}

/** The container that has an image of these, running or not. */
const userOf = (engine: Engine, members: readonly ImageRecord[]): string => {
  const ids = new Set(members.map(({ id }) => id))
  const user = engine.containers.all().find(({ record }) => imagesOf(record).some(id => ids.has(id)))
  return user ? `the container ${user.record.name}` : ''
}

/** Ids by the rule that protects them. */
const protectedBy = (engine: Engine, { keep }: CleanUpLimits): Map<string, string> =>
  new Map(keep.flatMap(rule => selectImages(engine, keepFilter(rule), true).map(({ id }) => [id, rule])))

const lastUseOf = (engine: Engine, members: readonly ImageRecord[]): number =>
  Math.max(...members.map(member => engine.lastUse.of(member)))

const imageFacts = (engine: Engine, limits: CleanUpLimits): ImageFacts[] => {
  const kept = protectedBy(engine, limits)
  return engine.images.rows().map(image => {
    const members = engine.images.membersOf(image)
    return {
      id: image.id,
      names: namesOf(engine, image.id),
      lastUsed: lastUseOf(engine, members),
      parent: image.parent,
      usedBy: userOf(engine, members),
      keptBy: kept.get(image.id) ?? '',
      parts: partsOf(engine, members),
    }
  })
}

const storedBytes = async (engine: Engine): Promise<number> => {
  let bytes = 0
  for (const { diskBytes } of await engine.layers.list()) bytes += diskBytes
  for await (const { size } of engine.content.list()) bytes += size
  return bytes
}

/** What would go now. */
export const drawPlan = async (engine: Engine, limits: CleanUpLimits): Promise<CleanUpPlan> => {
  const { bavail, blocks, bsize } = await statfs(engine.settings.dataRoot)
  const stored = await storedBytes(engine)
  // Nothing is waited for from here on: the plan is of one moment.
  const pinned = engine.containers
    .all()
    .flatMap(({ record }) => stacksOf(record).flatMap(stack => engine.layers.present(stack)))
    .flatMap(layer => (layer ? [layerPart(layer.key)] : []))
  return planCleanUp(limits, {
    images: imageFacts(engine, limits),
    pinned: new Set(pinned),
    stored,
    free: bavail * bsize,
    capacity: blocks * bsize,
    now: Date.now(),
  })
}

export interface CleanUpResult {
  plan: CleanUpPlan
  removed: Removal[]
  skipped: { removal: Removal; why: string }[]
  /** Bytes of blobs and layers. */
  before: number
  after: number
}

/** Why an image of the plan is not to go any more. */
const changed = (engine: Engine, { id, names, lastUsed }: Removal): string => {
  const image = engine.images.byId(id as Digest)
  if (!image) return 'it is gone already'
  const members = engine.images.membersOf(image)
  const user = userOf(engine, members)
  if (user) return `it is in use by ${user} now`
  if (lastUseOf(engine, members) > lastUsed) return 'it was used meanwhile'
  return namesOf(engine, image.id).join() === names.join() ? '' : 'it has other names now'
}

const removeOne = async (engine: Engine, { id, names, why, bytes }: Removal): Promise<void> => {
  using operation = engine.operations.begin({
    verb: 'rm',
    subject: { type: 'image', id, name: names[0] ?? id },
  })
  await removeImage(engine, id, { force: true, noprune: true, platforms: [], operation })
  failpoint('clean-up.removed')
  engine.log.info('an unused image was removed by the clean-up', { image: id, names, cause: why, bytes })
}

interface CleanUpRequest extends CleanUpCall {
  limits: CleanUpLimits
}

/**
 * Removes what the plan of now tells. What somebody begins to use meanwhile
 * stays; a clean-up that is cancelled keeps what it had removed removed.
 * Errors: `conflict` where another one is under way, or where the plan is another now.
 */
export const cleanUpImages = async (
  engine: Engine,
  { limits, ...call }: CleanUpRequest,
): Promise<CleanUpResult> => {
  const { operation } = call
  const name = 'a clean-up of images'
  const plan = await planAlone(engine, { ...call, name }, () => drawPlan(engine, limits))
  const before = await storedBytes(engine)
  const removed: Removal[] = []
  const skipped: CleanUpResult['skipped'] = []
  for (const [index, removal] of plan.removals.entries()) {
    operation.at(`removing image ${index + 1} of ${plan.removals.length}: ${removal.names[0] ?? removal.id}`)
    const why = changed(engine, removal) || (await refusal(removeOne(engine, removal)))
    if (why === '') removed.push(removal)
    else skipped.push({ removal, why })
  }
  // What is measured next, by this clean-up and the one that follows, counts on the space.
  if (removed.length > 0) {
    operation.at('removing content that nothing needs, after loads under way')
    await collectGarbage(engine, [], operation.signal)
  }
  return { plan, removed, skipped, before, after: await storedBytes(engine) }
}

/** Why a removal was refused, as somebody began to use the image; empty where it was not. */
const refusal = async (removing: Promise<void>): Promise<string> => {
  try {
    await removing
    return ''
  } catch (error) {
    if (error instanceof BerthError && error.status === 409) return error.message
    throw error
  }
}
