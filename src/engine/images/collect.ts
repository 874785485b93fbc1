import { messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import { stacksOf } from '../containers/imageMounts.ts'
import type { Engine } from '../engine.ts'
import { forgetFetched, keptFetched } from './fetched.ts'

/** Removal of blobs and layers that no image and no container needs any more. */

const blobsInUse = (engine: Engine): Set<Digest> => {
  const used = new Set<Digest>()
  for (const image of engine.images.all())
    for (const target of image.targets) for (const blob of target.blobs) used.add(blob.digest)
  for (const keeper of engine.keepers) for (const digest of keeper.blobs()) used.add(digest)
  return used
}

/** Keys of the layers that images, containers and keepers have. */
export const layersInUse = (engine: Engine): Set<Digest> => {
  const stacks = [
    ...engine.images.all().map(image => image.config.rootfs.diff_ids),
    ...engine.containers.all().flatMap(container => stacksOf(container.record)),
  ]
  const used = new Set<Digest>()
  // Of a stack that lacks one, too: a container may have the others mounted.
  for (const stack of stacks) for (const layer of engine.layers.present(stack)) if (layer) used.add(layer.key)
  for (const keeper of engine.keepers) for (const key of keeper.layers()) used.add(key)
  return used
}

/** Candidates that could not be collected yet: what is collected next takes them along. */
const postponed = new WeakMap<Engine, Set<Digest>>()

const postponedOf = (engine: Engine): Set<Digest> => {
  const found = postponed.get(engine) ?? new Set()
  postponed.set(engine, found)
  return found
}

/**
 * Removes these blobs where nothing names them, and every layer that nothing
 * needs. Waits for loads under way, whose blobs no record names yet. Returns
 * the bytes freed. An abort of the signal ends the wait.
 */
export const collectGarbage = async (
  engine: Engine,
  candidates: readonly Digest[],
  signal?: AbortSignal,
): Promise<number> => {
  using _alone = await engine.images.incoming.own(signal)
  return await collectAlone(engine, candidates)
}

const collectAlone = async (engine: Engine, candidates: readonly Digest[]): Promise<number> => {
  const more = postponedOf(engine)
  let freed = 0
  for (let all = [...candidates, ...more]; ; all = [...more]) {
    more.clear()
    freed += await collectLayers(engine)
    freed += await collectBlobs(engine, all)
    if (more.size === 0) return freed
  }
}

const collectLayers = async (engine: Engine): Promise<number> => {
  let freed = 0
  const needed = layersInUse(engine)
  for (const layer of await engine.layers.list()) {
    if (needed.has(layer.key)) continue
    freed += layer.size
    await engine.layers.remove(layer.key)
    failpoint('collect.layer')
  }
  return freed
}

const collectBlobs = async (engine: Engine, candidates: readonly Digest[]): Promise<number> => {
  let freed = 0
  const used = blobsInUse(engine)
  const unused = candidates.filter(digest => !used.has(digest))
  // A layer that a container goes on using, and that is not on disk yet, may have to be made again from its blob.
  if (unused.length > 0) await engine.layers.synced()
  for (const digest of unused) {
    // A pull may have begun to count on it meanwhile.
    if (engine.fetches.isHeld(digest)) continue
    freed += (await engine.content.info(digest))?.size ?? 0
    await engine.content.remove(digest)
    failpoint('collect.blob')
  }
  return freed
}

/** At a start: what a crash left between a load's first blob and its record. What a pull fetched waits for the next. */
export const collectEverything = async (engine: Engine): Promise<void> => {
  const all: Digest[] = []
  const kept = await keptFetched(engine, blobsInUse(engine))
  for await (const blob of engine.content.list()) if (!kept.has(blob.digest)) all.push(blob.digest)
  const freed = await collectGarbage(engine, all)
  if (freed > 0) engine.log.info('removed blobs and layers that nothing needs', { bytes: freed })
}

/** What pulls that did not come to their end left for the next; gives the bytes freed. */
export const dropFetched = async (engine: Engine): Promise<number> => {
  const kept = [...(await keptFetched(engine, blobsInUse(engine)))].filter(
    digest => !engine.fetches.isHeld(digest),
  )
  const freed = kept.length > 0 ? await collectSoon(engine, kept) : 0
  await forgetFetched(engine.database, kept)
  return freed + (await engine.content.dropPartials())
}

/** Ownership now, or none. */
const ownNow = (engine: Engine): Promise<Disposable | undefined> => {
  const later = new AbortController()
  const owning = engine.images.incoming.own(later.signal)
  later.abort()
  return owning.catch(() => undefined)
}

/**
 * As `collectGarbage`, but for callers that wait for no load, whose client may
 * have stalled: where one is under way the last of them collects, and nothing is
 * freed yet.
 */
export const collectSoon = async (engine: Engine, candidates: readonly Digest[]): Promise<number> => {
  using alone = await ownNow(engine)
  if (alone) return await collectAlone(engine, candidates)
  for (const digest of candidates) postponedOf(engine).add(digest)
  return 0
}

/** As `collectSoon`, for callers that must not fail because of it. */
export const collectQuietly = async (engine: Engine, candidates: readonly Digest[]): Promise<void> => {
  try {
    await collectSoon(engine, candidates)
  } catch (error) {
    engine.log.error('removal of unused blobs failed', { error: messageOf(error) })
  }
}

/** While it lasts nothing is collected: blobs come in that no record names yet. An abort of the signal ends the wait for it. */
export const bringIn = async (engine: Engine, signal: AbortSignal): Promise<Disposable> => {
  const sharing = await engine.images.incoming.share(signal)
  return {
    [Symbol.dispose]: () => {
      sharing[Symbol.dispose]()
      if (postponedOf(engine).size > 0) void collectQuietly(engine, [])
    },
  }
}
