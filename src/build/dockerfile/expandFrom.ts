import { type Platform, parsePlatform } from '../../oci/platform.ts'
import { quote } from './characters.ts'
import { DockerfileError, located } from './errors.ts'
import { expandWord } from './expand/expand.ts'
import { suggest } from './suggestion.ts'
import type { Escape, Expansion, Lookup, Stage } from './types.ts'

/** What a FROM names, with the values of global arguments. */
export interface StageBase {
  base: string
  platform?: Platform
  /** Arguments that it depends on. */
  used: string[]
}

interface FromValues {
  lookup: Lookup
  /** All names that have a value, for suggestions. */
  known: Iterable<string>
  escape: Escape
  /** What a platform is of that names its system alone. */
  architecture: string
}

const systems = ['linux', 'windows', 'darwin', 'freebsd']

const partForm = '^[A-Za-z0-9_.-]+$'

/** Why a platform has no such form, in containerd's words. */
const whyNot = (text: string): string => {
  const parts = text.split('/')
  const wrong = parts.find(part => !/^[A-Za-z0-9_.()-]+$/.test(part))
  if (wrong !== undefined)
    return `${quote(wrong)} is an invalid component of ${quote(text)}: platform specifier component must match ${quote(partForm)}: invalid argument`
  if (parts.length > 3) return `${quote(text)}: cannot parse platform specifier: invalid argument`
  return `${quote(text)}: unknown operating system or architecture: invalid argument`
}

/** The message with the first name without a value for which something is near. */
const withMeant = (message: string, { unset }: Expansion, known: Iterable<string>): string => {
  const options = [...known]
  const meant = unset.map(name => suggest(name, options)).find(option => option !== undefined)
  return meant === undefined ? message : `${message} (did you mean ${meant}?)`
}

const readPlatform = (written: string, expansion: Expansion, values: FromValues): Platform => {
  const text = expansion.value
  if (text === '')
    throw new DockerfileError(
      withMeant(`empty platform value from expression ${written}`, expansion, values.known),
    )
  const system = text.toLowerCase()
  if (systems.includes(system)) return { os: system, architecture: values.architecture }
  const platform = parsePlatform(text)
  if (platform) return platform
  throw new DockerfileError(
    withMeant(`failed to parse platform ${written}: ${whyNot(text)}`, expansion, values.known),
  )
}

const expand = ({ base, platform }: Stage, values: FromValues): StageBase => {
  const { lookup, escape: escapeChar } = values
  const name = expandWord(base.value, lookup, escapeChar)
  if (name.value === '') throw new DockerfileError(`base name (${base.value}) should not be blank`)
  if (!platform) return { base: name.value, used: name.used }
  const expansion = expandWord(platform.value, lookup, escapeChar)
  return {
    base: name.value,
    platform: readPlatform(platform.value, expansion, values),
    used: [...new Set([...name.used, ...expansion.used])],
  }
}

/** Errors: a base or platform that is empty or no such thing. */
export const expandFrom = (stage: Stage, values: FromValues): StageBase =>
  located(stage, () => expand(stage, values))
