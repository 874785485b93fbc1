import { BerthError, conflict } from '../../core/errors.ts'
import { isDigest } from '../../oci/digest.ts'
import { canonical, familiar, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Filters } from '../../wire/filters.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { collectGarbage, dropFetched } from './collect.ts'
import { imageFilters, selectImages } from './list.ts'
import type { ImageRecord } from './types.ts'

/** Engine API `ImageDeleteResponseItem` */
export type Removed = { Untagged: string } | { Deleted: string }

const usersOf = (engine: Engine, image: ImageRecord) =>
  engine.containers.all().filter(container => container.record.imageId === image.id)

const isIdReference = (text: string, image: ImageRecord): boolean =>
  isDigest(text) || image.id.startsWith(`sha256:${text.replace(/^sha256:/, '')}`)

const childrenOf = (engine: Engine, image: ImageRecord): ImageRecord[] =>
  engine.images.all().filter(({ parent }) => parent === image.id)

/** Refuses what would take an image from under its users: hard reasons first, soft ones where nothing is forced. */
const checkFree = (engine: Engine, image: ImageRecord, force: boolean): void => {
  const users = usersOf(engine, image)
  const refuse = (how: string, why: string): never => {
    throw conflict(`conflict: unable to delete ${image.id.slice(7, 19)} (${how}) - ${why}`)
  }
  if (childrenOf(engine, image).length > 0) refuse('cannot be forced', 'image has dependent child images')
  const running = users.find(container => container.isRunning)
  if (running)
    refuse('cannot be forced', `image is being used by running container ${running.id.slice(0, 12)}`)
  const [stopped] = users
  if (stopped && !force)
    refuse('must be forced', `image is being used by stopped container ${stopped.id.slice(0, 12)}`)
}

/** Forgets an image with all its names; its content goes when nothing else needs it. */
const deleteImage = async (engine: Engine, image: ImageRecord): Promise<Removed[]> => {
  const tags = engine.images.tagsOf(image.id)
  await engine.images.forget(
    tags.map(tag => tag.name),
    image,
  )
  const names = tags.map(tag => familiar(parseReference(tag.name)))
  for (const name of names) engine.events.publish('image', 'untag', image.id, { name })
  engine.events.publish('image', 'delete', image.id, { name: image.id })
  await collectGarbage(
    engine,
    image.targets.flatMap(target => target.blobs.map(blob => blob.digest)),
  )
  return [...names.map(name => ({ Untagged: name })), { Deleted: image.id }]
}

const untag = async (engine: Engine, image: ImageRecord, name: string): Promise<Removed[]> => {
  await engine.images.forget([name])
  const shown = familiar(parseReference(name))
  engine.events.publish('image', 'untag', image.id, { name: shown })
  return [{ Untagged: shown }]
}

/** After an image, those that it was built upon and that are nothing but its parents. */
const deleteWithParents = async (
  engine: Engine,
  image: ImageRecord,
  noprune: boolean,
): Promise<Removed[]> => {
  const removed = await deleteImage(engine, image)
  for (let child = image; child.parent !== '' && !noprune; ) {
    const parent = engine.images.all().find(({ id }) => id === child.parent)
    if (!parent || engine.images.tagsOf(parent.id).length > 0) break
    if (childrenOf(engine, parent).length > 0 || usersOf(engine, parent).length > 0) break
    removed.push(...(await deleteImage(engine, parent)))
    child = parent
  }
  return removed
}

interface RemoveOptions {
  force: boolean
  noprune: boolean
}

const removeName = async (
  engine: Engine,
  image: ImageRecord,
  { reference, name, force, noprune }: RemoveOptions & { reference: string; name: string },
): Promise<Removed[]> => {
  if (engine.images.tagsOf(image.id).length > 1) return untag(engine, image, name)
  const [user] = usersOf(engine, image)
  if (user && !force)
    throw conflict(
      `conflict: unable to remove repository reference "${reference}" (must force) - container ${user.id.slice(0, 12)} is using its referenced image ${image.id.slice(7, 19)}`,
    )
  if (user || childrenOf(engine, image).length > 0) return untag(engine, image, name)
  return deleteWithParents(engine, image, noprune)
}

/** `DELETE /images/{name}`. Errors: 404, 409 in Docker's words. */
export const removeImage = async (
  engine: Engine,
  reference: string,
  options: RemoveOptions & { operation: Operation },
): Promise<Removed[]> => {
  options.operation.commit(
    'its names and record go first, in one step; what remains is the removal of its content',
  )
  options.operation.at('removing names, then content that nothing needs, after loads under way')
  const image = engine.images.get(reference)
  const tags = engine.images.tagsOf(image.id)
  const name = isIdReference(reference, image)
    ? undefined
    : canonical(withDefaultTag(parseReference(reference)))
  if (name !== undefined && tags.some(tag => tag.name === name))
    return removeName(engine, image, { ...options, reference, name })
  const repositories = new Set(tags.map(tag => canonical({ ...parseReference(tag.name), tag: 'x' })))
  checkFree(engine, image, options.force)
  if (repositories.size > 1 && !options.force)
    throw conflict(
      `conflict: unable to delete ${image.id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
    )
  if (usersOf(engine, image).length > 0) {
    const removed: Removed[] = []
    for (const tag of tags) removed.push(...(await untag(engine, image, tag.name)))
    return removed
  }
  return deleteWithParents(engine, image, options.noprune)
}

/** `POST /images/prune`: unnamed images, or with `dangling=false` every image without a container. A cancelled one keeps what it had removed removed. */
export const pruneImages = async (
  engine: Engine,
  filters: Filters,
  operation: Operation,
): Promise<{ ImagesDeleted: Removed[]; SpaceReclaimed: number }> => {
  const danglingOnly = filters.flag('dangling') ?? true
  const before = await storedBytes(engine)
  const removed: Removed[] = []
  for (const image of selectImages(engine, filters.without('dangling'), true)) {
    const { tags, digests } = engine.images.namesOf(image.id)
    if (danglingOnly && (tags.length > 0 || digests.length > 0)) continue
    if (usersOf(engine, image).length > 0 || childrenOf(engine, image).length > 0) continue
    operation.at(`removing ${image.id}`)
    try {
      removed.push(...(await deleteImage(engine, image)))
    } catch (error) {
      // Somebody began to use it meanwhile: it stays.
      if (!(error instanceof BerthError) || error.status !== 409) throw error
    }
  }
  // With filters that choose among images, what belongs to none is left alone.
  if (!imageFilters.some(key => key !== 'dangling' && filters.has(key))) {
    operation.at('removing what pulls that did not come to their end left')
    await dropFetched(engine)
  }
  return { ImagesDeleted: removed, SpaceReclaimed: Math.max(0, before - (await storedBytes(engine))) }
}

const storedBytes = async (engine: Engine): Promise<number> => {
  let bytes = 0
  for (const layer of await engine.layers.list()) bytes += layer.size
  for await (const blob of engine.content.list()) bytes += blob.size
  for await (const partial of engine.content.partials()) bytes += partial.size
  return bytes
}
