import { BerthError, badRequest, conflict } from '../../core/errors.ts'
import { isDigest } from '../../oci/digest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { canonical, familiar, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { ImageDeleteItem } from '../../wire/image.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { collectSoon } from './collect.ts'
import type { Resolved } from './images.ts'
import { usersOf } from './list.ts'
import type { ImageRecord, TagRecord } from './types.ts'

/** What goes in its place where a container or another image needs it yet: a row without a name. */

const childrenOf = (engine: Engine, image: ImageRecord): ImageRecord[] =>
  engine.images.all().filter(({ parent }) => parent === image.id)

/** True where containers were made from it or a sibling, or images built upon it. */
export const isNeeded = (engine: Engine, image: ImageRecord): boolean =>
  usersOf(engine, engine.images.membersOf(image)).length > 0 || childrenOf(engine, image).length > 0

const isTag = ({ name }: TagRecord): boolean => parseReference(name).digest === undefined

const repositoryOf = ({ name }: TagRecord): string => {
  const { domain, path } = parseReference(name)
  return canonical({ domain, path })
}

/** At most one tag, and all names within one repository. */
const isSingle = (tags: readonly TagRecord[]): boolean =>
  tags.length > 0 && tags.filter(isTag).length <= 1 && new Set(tags.map(repositoryOf)).size === 1

/** Refuses what would take an image from under its users: hard reasons first, soft ones where nothing is forced. */
const checkFree = (engine: Engine, image: ImageRecord, force: boolean): void => {
  const refuse = (how: string, why: string): never => {
    throw conflict(`conflict: unable to delete ${image.id.slice(7, 19)} (${how}) - ${why}`)
  }
  const users = usersOf(engine, engine.images.membersOf(image))
  if (childrenOf(engine, image).length > 0) refuse('cannot be forced', 'image has dependent child images')
  const running = users.find(container => container.isRunning)
  if (running)
    refuse('cannot be forced', `image is being used by running container ${running.id.slice(0, 12)}`)
  if (force) return
  const tags = engine.images.tagsOf(image.id)
  if (tags.length > 0 && !isSingle(tags))
    refuse('must be forced', 'image is referenced in multiple repositories')
  const [stopped] = users
  if (stopped) refuse('must be forced', `image is being used by stopped container ${stopped.id.slice(0, 12)}`)
}

/** Siblings that nothing but this image's names keeps. */
const goingWith = (engine: Engine, image: ImageRecord): ImageRecord[] =>
  engine.images
    .siblingsOf(image)
    .filter(
      sibling =>
        usersOf(engine, [sibling]).length === 0 &&
        childrenOf(engine, sibling).length === 0 &&
        sibling.targets.every(({ descriptor }) =>
          engine.images
            .sharing(descriptor.digest)
            .every(
              ({ id }) =>
                id === image.id ||
                engine.images.tagsOf(id).every(({ target }) => target !== descriptor.digest),
            ),
        ),
    )

/** Forgets an image with all its names and the siblings that they keep; content that nothing else needs goes with it, or with the end of the loads under way. */
export const deleteImage = async (engine: Engine, image: ImageRecord): Promise<ImageDeleteItem[]> => {
  const tags = engine.images.tagsOf(image.id)
  const images = [image, ...goingWith(engine, image)]
  await engine.images.forget({ names: tags.map(tag => tag.name), images })
  const names = tags.map(tag => familiar(parseReference(tag.name)))
  for (const name of names) engine.events.publish('image', 'untag', image.id, { name })
  tellGone(engine, images)
  await collectBlobs(engine, images)
  return [...names.map(name => ({ Untagged: name })), ...images.map(({ id }) => ({ Deleted: id }))]
}

const tellGone = (engine: Engine, images: readonly ImageRecord[]): void => {
  for (const { id } of images) {
    engine.lastUse.forget(id)
    engine.events.publish('image', 'delete', id, { name: id })
  }
}

const collectBlobs = (engine: Engine, images: readonly ImageRecord[]): Promise<number> =>
  collectSoon(
    engine,
    images.flatMap(({ targets }) => targets.flatMap(({ blobs }) => blobs.map(({ digest }) => digest))),
  )

const untag = async (
  engine: Engine,
  image: ImageRecord,
  names: readonly string[],
): Promise<ImageDeleteItem[]> => {
  await engine.images.forget({ names })
  const shown = names.map(name => familiar(parseReference(name)))
  for (const name of shown) engine.events.publish('image', 'untag', image.id, { name })
  return shown.map(name => ({ Untagged: name }))
}

/** After an image, those that it was built upon and that are nothing but its parents. */
const deleteWithParents = async (
  engine: Engine,
  image: ImageRecord,
  noprune: boolean,
): Promise<ImageDeleteItem[]> => {
  const removed = await deleteImage(engine, image)
  for (let child = image; child.parent !== '' && !noprune; ) {
    const parent = engine.images.all().find(({ id }) => id === child.parent)
    if (!parent || engine.images.tagsOf(parent.id).length > 0 || isNeeded(engine, parent)) break
    try {
      removed.push(...(await deleteImage(engine, parent)))
    } catch (error) {
      // Somebody needs it: what was asked for is gone all the same.
      if (!(error instanceof BerthError) || error.status !== 409) throw error
      break
    }
    child = parent
  }
  return removed
}

export interface RemoveOptions {
  force: boolean
  noprune: boolean
  /** Only these of an image. */
  platforms?: readonly Platform[]
  operation: Operation
}

/** The name that is meant, and what goes with it: with the last tag of a repository its names by digest. */
const namesFor = (tags: readonly TagRecord[], reference: Reference): string[] => {
  const name = canonical(withDefaultTag(reference))
  const repository = canonical({ domain: reference.domain, path: reference.path })
  const inRepository = tags.filter(tag => repositoryOf(tag) === repository)
  if (!tags.some(tag => tag.name === name))
    // One by a digest that has no record of its own: all of the repository stand for it.
    return inRepository.map(tag => tag.name)
  const isLast = !reference.digest && !inRepository.some(tag => isTag(tag) && tag.name !== name)
  return isLast ? [name, ...inRepository.flatMap(tag => (isTag(tag) ? [] : [tag.name]))] : [name]
}

const removeName = async (
  engine: Engine,
  { text, image }: { text: string; image: ImageRecord },
  { force, noprune }: RemoveOptions,
): Promise<ImageDeleteItem[]> => {
  const tags = engine.images.tagsOf(image.id)
  const names = namesFor(tags, parseReference(text))
  if (names.length < tags.length && !(isSingle(tags) && isNeeded(engine, image) && !force))
    return untag(engine, image, names)
  const [user] = usersOf(engine, engine.images.membersOf(image))
  if (user && !force)
    throw conflict(
      `conflict: unable to remove repository reference "${text}" (must force) - container ${user.id.slice(0, 12)} is using its referenced image ${image.id.slice(7, 19)}`,
    )
  if (names.length < tags.length || isNeeded(engine, image)) return untag(engine, image, names)
  return deleteWithParents(engine, image, noprune)
}

const isById = (text: string, { target }: Resolved): boolean =>
  target === undefined || isDigest(text) || /^[a-f0-9]{64}$/.test(text)

/** The images of an index for these platforms. Errors: 404 in Docker's words. */
const forPlatforms = (engine: Engine, text: string, platforms: readonly Platform[]): ImageRecord[] => {
  const chosen = new Set<ImageRecord>()
  for (const platform of platforms)
    try {
      chosen.add(engine.images.get(text, platform))
    } catch (error) {
      if (!(error instanceof BerthError) || error.code !== 'platform-mismatch') throw error
      const { id } = engine.images.get(text)
      throw new BerthError(
        error.code,
        error.status,
        `failed to delete platform ${formatPlatform(platform)} for image ${id}: ${error.message}`,
        { cause: error },
      )
    }
  return [...chosen]
}

/** The images of some platforms go from all targets that have them; the last of them takes the names with it. */
const removePlatforms = async (
  engine: Engine,
  text: string,
  { force, platforms = [] }: RemoveOptions,
): Promise<ImageDeleteItem[]> => {
  if (!force)
    throw badRequest(
      'Content will be removed from all images referencing this variant. Use —-force to force delete.',
    )
  const images = forPlatforms(engine, text, platforms)
  for (const image of images) checkUnused(engine, image)
  const removed: ImageDeleteItem[] = []
  for (const image of images) {
    if (engine.images.siblingsOf(image).length === 0) {
      removed.push(...(await deleteImage(engine, image)))
      continue
    }
    await engine.images.forget({ images: [image] })
    tellGone(engine, [image])
    await collectBlobs(engine, [image])
    const manifests = new Set(image.targets.map(({ manifest }) => manifest.digest))
    removed.push(...[...manifests].map(digest => ({ Deleted: digest })))
  }
  return removed
}

/** Refuses what nothing forces, of this platform's image alone. */
const checkUnused = (engine: Engine, image: ImageRecord): void => {
  const running = usersOf(engine, [image]).find(container => container.isRunning)
  const why = running
    ? `image is being used by running container ${running.id.slice(0, 12)}`
    : childrenOf(engine, image).length > 0
      ? 'image has dependent child images'
      : undefined
  if (why) throw conflict(`conflict: unable to delete ${image.id.slice(7, 19)} (cannot be forced) - ${why}`)
}

/** `DELETE /images/{name}`. Errors: 400, 404, 409 in Docker's words. */
export const removeImage = async (
  engine: Engine,
  text: string,
  options: RemoveOptions,
): Promise<ImageDeleteItem[]> => {
  const { operation, platforms = [], force, noprune } = options
  operation.commit('its names and record go first, in one step; what remains is the removal of its content')
  operation.at('removing names, then content that nothing needs')
  const found = engine.images.resolve(text)
  if (platforms.length > 0) return removePlatforms(engine, text, options)
  const { image } = found
  if (!isById(text, found)) return removeName(engine, { text, image }, options)
  checkFree(engine, image, force)
  return deleteWithParents(engine, image, noprune)
}
