/**
 * The clean-up of stopped containers, of volumes and of networks that nobody
 * uses. (Images, which share what they take, have one of their own:
 * `images/cleanUp`.)
 */
export const cleanedTypes = ['container', 'network', 'volume'] as const
export type CleanedType = (typeof cleanedTypes)[number]

/** When one kind goes; a kind without a limit never does. */
export interface CleanUpRules {
  /** Milliseconds since it was last needed: a container ran, the last container of a network or volume was removed. */
  maxAge?: number
  /** Bytes of all unused ones together; not of networks, which take none. */
  maxSize?: number
  /** So many of those last needed stay, whatever the limits say. */
  keepLast: number
  /** Filters of what never goes: `label=…`, `label!=…`, `name=…` with `*`. */
  keep: string[]
  /** Volumes that somebody named, too. */
  named: boolean
}

export type CleanUpSettings = Partial<Record<CleanedType, CleanUpRules>>

/** What nobody uses. */
export interface Unused {
  type: CleanedType
  id: string
  name: string
  labels: Record<string, string>
  /** When it was last needed, in milliseconds since the epoch. */
  lastNeeded: number
  /** 0 where no rule asks. */
  bytes: number
}

export interface Removal extends Unused {
  why: string
}

export interface CleanUpPlan {
  /** The same for a plan that removes the same. */
  id: string
  removals: Removal[]
  /** What is unused and stays, with the reason. */
  stays: Removal[]
  bytes: number
}

export interface CleanUpOutcome {
  plan: CleanUpPlan
  removed: Removal[]
  /** What somebody began to use meanwhile. */
  skipped: Removal[]
  /** Bytes. */
  freed: number
}
