import { DockerfileError } from './errors.ts'
import { type Statement, textOf } from './statement.ts'
import { withSuggestion } from './suggestion.ts'
import type { Text } from './types.ts'

/** `list`: a text that may be given several times. */
type Kind = 'switch' | 'text' | 'list'

/** What was given, by the flags' names. */
export interface Flags {
  names: string[]
  /** Undefined where the flag was not given. */
  isOn(name: string): boolean | undefined
  /** Undefined where it was not given or is empty. */
  text(name: string): Text | undefined
  list(name: string): Text[]
}

const readSwitch = (flag: string, value: string | undefined): boolean => {
  if (value === '') throw new DockerfileError(`missing a value on flag: ${flag}`)
  const lower = value?.toLowerCase() ?? 'true'
  if (lower !== 'true' && lower !== 'false')
    throw new DockerfileError(`expecting boolean value for flag ${flag}, not: ${value}`)
  return lower === 'true'
}

/** Reads a statement's flags as the instruction has them. Errors: what it does not have, and values that miss or do not fit. */
export const readFlags = (statement: Statement, kinds: Record<string, Kind> = {}): Flags => {
  const given = new Map<string, Text[]>()
  for (const piece of statement.flags) {
    const equals = piece.value.indexOf('=')
    const flag = equals < 0 ? piece.value : piece.value.slice(0, equals)
    const value = equals < 0 ? undefined : piece.value.slice(equals + 1)
    const name = flag.slice(2)
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
    if (!kind) throw new DockerfileError(withSuggestion(`unknown flag: ${flag}`, name, Object.keys(kinds)))
    const before = given.get(name) ?? []
    if (before.length > 0 && kind !== 'list') throw new DockerfileError(`duplicate flag specified: ${flag}`)
    if (kind !== 'switch' && value === undefined)
      throw new DockerfileError(`missing a value on flag: ${flag}`)
    const text = kind === 'switch' ? String(readSwitch(flag, value)) : (value ?? '')
    before.push({ ...textOf(statement, piece), value: text })
    given.set(name, before)
  }
  return {
    names: [...given.keys()],
    isOn: name => (given.has(name) ? given.get(name)?.[0]?.value === 'true' : undefined),
    text: name => given.get(name)?.find(({ value }) => value !== ''),
    list: name => given.get(name) ?? [],
  }
}
