import { formatPlatform, normalizePlatform, type Platform, parsePlatform } from '../../../oci/platform.ts'
import { parseReference } from '../../../oci/reference.ts'
import { globalValues } from '../arguments.ts'
import { DockerfileError } from '../errors.ts'
import { expandWord } from '../expand/expand.ts'
import { suggest } from '../suggestion.ts'
import type { Dockerfile, Escape, Expansion, Lookup, Stage } from '../types.ts'
import type { Checker, Place } from './checker.ts'
import { rules } from './rules.ts'

/** Checks that need values: of build arguments, of the base image's environment, of its platform. */

/** Arguments that steer the builder and are no variables. */
const steering = ['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']

/** `unset`: of the instruction's expansion. `known`: all variables that have a value. `declared`: ARGs, with or without one. */
export const checkUnset = (
  checker: Checker,
  place: Place,
  {
    unset,
    known,
    declared,
  }: { unset: Iterable<string>; known: Iterable<string>; declared: Iterable<string> },
): void => {
  const passed = new Set([...declared, ...steering])
  const options = [...known]
  for (const name of unset) {
    if (passed.has(name)) continue
    const meant = suggest(name, options)
    const words = `Usage of undefined variable '$${name}'`
    checker.report(
      rules.undefinedVar,
      place,
      meant === undefined ? words : `${words} (did you mean $${meant}?)`,
    )
  }
}

const checkFromUnset = (checker: Checker, stage: Stage, { unset }: Expansion, known: Set<string>): void => {
  for (const name of unset) {
    if (known.has(name)) continue
    const meant = suggest(name, known)
    const words = `FROM argument '${name}' is not declared`
    checker.report(
      rules.undefinedArgInFrom,
      stage,
      meant === undefined ? words : `${words} (did you mean ${meant}?)`,
    )
  }
}

const checkPlatform = (checker: Checker, stage: Stage, expansion: Expansion, lookup: Lookup): void => {
  const { value, used, unset } = expansion
  const [only, more] = used
  if (only === 'TARGETPLATFORM' && !more && unset.length === 0 && value === lookup(only))
    checker.report(
      rules.redundantTargetPlatform,
      stage,
      `Setting platform to predefined ${stage.platform?.value} in FROM is redundant as this is the default behavior`,
    )
  const platform = only === undefined && unset.length === 0 ? parsePlatform(value) : undefined
  const name = stage.name?.value ?? ''
  if (!platform || name.includes(platform.os) || name.includes(platform.architecture)) return
  checker.report(
    rules.fromPlatformFlagConstDisallowed,
    stage,
    `FROM --platform flag should not use constant value "${value}"`,
  )
}

interface Globals {
  lookup: Lookup
  /** All that FROM may name: meta arguments, with or without a value, and those that are always there. */
  known: Iterable<string>
  escape: Escape
}

/** Checks the FROM of a stage with the values of global arguments. Errors: those of `expandWord`. */
export const checkFromValues = (checker: Checker, stage: Stage, globals: Globals): void => {
  const { lookup, escape: escapeChar } = globals
  const known = new Set(globals.known)
  checkFromUnset(checker, stage, expandWord(stage.base.value, lookup, escapeChar), known)
  if (!stage.platform) return
  const expansion = expandWord(stage.platform.value, lookup, escapeChar)
  checkFromUnset(checker, stage, expansion, known)
  checkPlatform(checker, stage, expansion, lookup)
}

const isReference = (text: string): boolean => {
  try {
    parseReference(text)
    return true
  } catch {
    return false
  }
}

/** Whether each base is a name of an image or stage where a build gives no arguments. What cannot be read fails later, elsewhere. */
export const checkDefaultBases = (checker: Checker, dockerfile: Dockerfile, always: Lookup): void => {
  try {
    const lookup = globalValues(dockerfile, { given: () => undefined, always })
    for (const { base, range } of dockerfile.stages) {
      const { value } = expandWord(base.value, lookup, dockerfile.directives.escape)
      if (!isReference(value))
        checker.report(
          rules.invalidDefaultArgInFrom,
          { range },
          `Default value for ARG ${base.value} results in empty or invalid base image name`,
        )
    }
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
  }
}

/** Whether the image that a stage is built on is for the platform that was asked for. */
export const checkBasePlatform = (
  checker: Checker,
  stage: Place,
  { image, expected, actual }: { image: string; expected: Platform; actual: Platform },
): void => {
  if (expected.os === actual.os && expected.architecture === actual.architecture) return
  const [want, have] = [expected, actual].map(platform => formatPlatform(normalizePlatform(platform)))
  checker.report(
    rules.invalidBaseImagePlatform,
    { range: stage.range },
    `Base image ${image} was pulled with platform "${have}", expected "${want}" for current build`,
  )
}
