import { DockerfileError, located } from '../errors.ts'
import type { Dockerfile, Range, Warning } from '../types.ts'
import type { Rule } from './rules.ts'
import { type CheckSettings, parseCheckSettings, withComments } from './settings.ts'

/** What a finding is about: its place, and the comments above that may say that it is not wanted. */
export interface Place {
  range: Range
  comments?: string[]
}

const isIn = (names: 'all' | string[], name: string): boolean => names === 'all' || names.includes(name)

/** Collects what checks find, as far as the settings want it. */
export class Checker {
  readonly warnings: Warning[] = []
  readonly #settings: CheckSettings

  constructor(settings: CheckSettings) {
    this.#settings = settings
  }

  report(rule: Rule, { range, comments = [] }: Place, message: string): void {
    const { skip, experimental } = withComments(this.#settings, comments)
    const isWanted = rule.experimental ? isIn(experimental, rule.name) : !isIn(skip, rule.name)
    if (!isWanted) return
    const { name, description, url } = rule
    this.warnings.push({ rule: name, message, description, url, ranges: [range] })
  }

  /** What fails the build, where findings are to do that. */
  get failure(): DockerfileError | undefined {
    if (!this.#settings.error || this.warnings.length === 0) return undefined
    const names = new Set(this.warnings.map(({ rule }) => rule))
    const ranges = this.warnings.flatMap(warning => warning.ranges)
    return new DockerfileError(`lint violation found for rules: ${[...names].join(', ')}`, ranges)
  }
}

/** A checker with the settings of the file's directive, or with those that are given in their stead. */
export const checkerOf = ({ directives }: Dockerfile, settings?: CheckSettings): Checker => {
  const { check } = directives
  if (settings || !check) return new Checker(settings ?? parseCheckSettings(''))
  return new Checker(located(check, () => parseCheckSettings(check.value), 'failed to parse check options: '))
}
