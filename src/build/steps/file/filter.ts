import { type ByteString, toBytes } from '../../../archive/paths.ts'
import { badRequest, messageOf } from '../../../core/errors.ts'
import { IgnoreMatcher, type Matched } from '../../dockerfile/ignore.ts'

/** What matched a directory, for what is in it. */
export interface Within {
  include?: Matched | undefined
  exclude?: Matched | undefined
}

export interface Filtered {
  isIncluded: boolean
  /** Nothing of it can come, nor what is in it. */
  isPruned: boolean
  /** For what is in it. */
  matched: Within
}

const matcherOf = (patterns: readonly string[], what: string): IgnoreMatcher | undefined => {
  if (patterns.length === 0) return undefined
  try {
    return new IgnoreMatcher([...patterns])
  } catch (error) {
    throw badRequest(`invalid ${what}: [${patterns.join(' ')}]: ${messageOf(error)}`)
  }
}

/** Which paths of a tree come: those that are included, where anything is told, but for those that are excluded. */
export class Filter {
  readonly #include: IgnoreMatcher | undefined
  readonly #exclude: IgnoreMatcher | undefined

  /** Errors: `bad-request` for a pattern that is none. */
  constructor({ include, exclude }: { include: readonly string[]; exclude: readonly string[] }) {
    this.#include = matcherOf(include, 'includepatterns')
    this.#exclude = matcherOf(exclude, 'excludepatterns')
  }

  /** In a walk from above; `relative` is '' for the top, which always comes. */
  match(relative: ByteString, within: Within): Filtered {
    if (relative === '' || (!this.#include && !this.#exclude))
      return { isIncluded: true, isPruned: false, matched: {} }
    const path = toBytes(relative).toString('utf8')
    const wanted = this.#include?.visit(path, within.include)
    const unwanted = this.#exclude?.visit(path, within.exclude)
    const isIncluded = (wanted?.ignored ?? true) && !unwanted?.ignored
    return {
      isIncluded,
      isPruned: !isIncluded && (!this.#mayInclude(path, wanted?.ignored) || (unwanted?.canSkip ?? false)),
      matched: { include: wanted?.matched, exclude: unwanted?.matched },
    }
  }

  /** The path, or something below it, is included. */
  #mayInclude(path: string, isWanted: boolean | undefined): boolean {
    if (!this.#include || isWanted) return true
    return this.#include.patterns.some(pattern => !pattern.isException && pattern.mayMatchBelow(path))
  }
}
