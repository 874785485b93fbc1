import { digestHex, digestOf } from '../../../oci/digest.ts'
import type { CleanUpLimits } from '../../settings.ts'
import { shownAge, shownBytes } from './shown.ts'

/** Which unused images go, and why: pure, from what is here and when it was used. */

/** A blob or an unpacked layer, which images may share. */
export interface Part {
  id: string
  bytes: number
}

export interface ImageFacts {
  id: string
  /** As users know them; empty for one without a name. */
  names: string[]
  /** Milliseconds since the epoch. */
  lastUsed: number
  /** Id of the image that it was built upon, or empty. */
  parent: string
  /** Why it is in use, as "the container web"; empty where it is not. */
  usedBy: string
  /** The rule that protects it; empty where none does. */
  keptBy: string
  parts: Part[]
}

export interface StoreFacts {
  images: ImageFacts[]
  /** Parts that are needed by something else than images. */
  pinned: ReadonlySet<string>
  /** Bytes of all blobs and layers. */
  stored: number
  /** Bytes of the data root's file system. */
  free: number
  capacity: number
  /** Milliseconds since the epoch. */
  now: number
}

export interface Removal {
  id: string
  names: string[]
  lastUsed: number
  why: string
  /** What goes with it: not what others have too. */
  bytes: number
}

export interface Stay {
  id: string
  names: string[]
  lastUsed: number
  why: string
}

export interface CleanUpPlan {
  /** The same for a plan that removes the same. */
  id: string
  removals: Removal[]
  stays: Stay[]
  /** Bytes that it frees. */
  bytes: number
  /** Limits that do not hold even then, each a sentence. */
  short: string[]
}

const leastFree = ({ minFree }: CleanUpLimits, capacity: number): number | undefined => {
  if (!minFree) return undefined
  return 'bytes' in minFree ? minFree.bytes : Math.ceil(minFree.share * capacity)
}

/** Counts who has which part, so that what is shared goes with its last user. */
class Shares {
  readonly #users = new Map<string, number>()
  readonly #pinned: ReadonlySet<string>

  constructor({ images, pinned }: StoreFacts) {
    this.#pinned = pinned
    for (const { parts } of images)
      for (const { id } of parts) this.#users.set(id, (this.#users.get(id) ?? 0) + 1)
  }

  /** Takes an image away; gives the bytes that nobody else has. */
  release({ parts }: ImageFacts): number {
    let bytes = 0
    for (const part of parts) {
      const left = (this.#users.get(part.id) ?? 1) - 1
      this.#users.set(part.id, left)
      if (left === 0 && !this.#pinned.has(part.id)) bytes += part.bytes
    }
    return bytes
  }
}

/** What is asked of the disk, and how far that is. */
class Goals {
  readonly #limits: CleanUpLimits
  readonly #facts: StoreFacts
  freed = 0

  constructor(limits: CleanUpLimits, facts: StoreFacts) {
    this.#limits = limits
    this.#facts = facts
  }

  /** Limits that do not hold yet, in words. */
  open(): string[] {
    const { maxSize } = this.#limits
    const least = leastFree(this.#limits, this.#facts.capacity)
    const stored = this.#facts.stored - this.freed
    const free = this.#facts.free + this.freed
    return [
      ...(maxSize !== undefined && stored > maxSize
        ? [`images take ${shownBytes(stored)}, more than max-size ${shownBytes(maxSize)}`]
        : []),
      ...(least !== undefined && free < least
        ? [`${shownBytes(free)} are free on the disk, less than min-free ${shownBytes(least)}`]
        : []),
    ]
  }

  /** Why an image is to go now; undefined where it may stay. */
  against({ lastUsed }: ImageFacts): string | undefined {
    const { maxAge } = this.#limits
    const age = this.#facts.now - lastUsed
    if (maxAge !== undefined && age > maxAge)
      return `not used for ${shownAge(age)}, longer than max-age ${shownAge(maxAge)}`
    return this.open()[0]
  }
}

/** Why an image cannot go, as far as that does not change. */
const hindrance = ({ usedBy, keptBy }: ImageFacts): string => {
  if (usedBy) return `in use by ${usedBy}`
  return keptBy ? `kept by ${keptBy}` : ''
}

/**
 * The least recently used first, until all limits hold; an image that others
 * were built upon goes after them.
 */
export const planCleanUp = (limits: CleanUpLimits, facts: StoreFacts): CleanUpPlan => {
  const shares = new Shares(facts)
  const goals = new Goals(limits, facts)
  const left = new Map(facts.images.map(image => [image.id, image]))
  const inOrder = [...facts.images].sort((a, b) => a.lastUsed - b.lastUsed || (a.id < b.id ? -1 : 1))
  const children = new Map<string, number>()
  const count = (parent: string, by: number): void => {
    children.set(parent, (children.get(parent) ?? 0) + by)
  }
  for (const { parent } of facts.images) count(parent, 1)
  const isParent = (id: string): boolean => (children.get(id) ?? 0) > 0
  const next = (): { image: ImageFacts; why: string } | undefined => {
    for (const image of inOrder) {
      if (!left.has(image.id) || hindrance(image) !== '' || isParent(image.id)) continue
      const why = goals.against(image)
      if (why !== undefined) return { image, why }
    }
    return undefined
  }
  const removals: Removal[] = []
  for (let found = next(); found; found = next()) {
    const { id, names, lastUsed, parent } = found.image
    left.delete(id)
    count(parent, -1)
    const bytes = shares.release(found.image)
    goals.freed += bytes
    removals.push({ id, names, lastUsed, why: found.why, bytes })
  }
  const stays = [...left.values()].map(image => ({
    id: image.id,
    names: image.names,
    lastUsed: image.lastUsed,
    why: hindrance(image) || (isParent(image.id) ? 'other images were built upon it' : 'within the limits'),
  }))
  return { id: planId(removals), removals, stays, bytes: goals.freed, short: goals.open() }
}

const planId = (removals: readonly Removal[]): string =>
  digestHex(digestOf(JSON.stringify(removals.map(({ id, names }) => [id, names])))).slice(0, 16)
