import { located } from './errors.ts'
import { expandWord } from './expand/expand.ts'
import type { Argument, Dockerfile, Escape, Lookup } from './types.ts'

/** What ARG makes of the values that a build gives. */

interface Given {
  /** Build arguments. */
  given: Lookup
  /** What a build has of itself, as `TARGETARCH`. */
  always: Lookup
}

/** The values of global arguments, for FROM: those given, else defaults, which may name those before. Errors: in a default. */
export const globalValues = (
  { metaArguments, directives }: Pick<Dockerfile, 'metaArguments' | 'directives'>,
  { given, always }: Given,
): Lookup => {
  const values = new Map<string, string>()
  const lookup: Lookup = name => values.get(name) ?? always(name)
  for (const meta of metaArguments)
    for (const argument of meta.arguments) {
      const name = argument.name.value
      const value =
        given(name) ??
        (argument.default &&
          located(meta, () => expandWord(argument.default?.value ?? '', lookup, directives.escape).value))
      if (value !== undefined) values.set(name, value)
    }
  return lookup
}

/**
 * The value of an argument of a stage: the given one, else its default with the stage's variables, else that of the
 * global argument of the name. `unset`: names without a value in the default. Errors: in the default.
 */
export const stageValue = (
  argument: Argument,
  { given, global, lookup }: { given: Lookup; global: Lookup; lookup: Lookup },
  escapeChar: Escape,
): { value: string | undefined; unset: string[] } => {
  const name = argument.name.value
  const asked = given(name)
  if (asked !== undefined) return { value: asked, unset: [] }
  const { default: text } = argument
  if (!text) return { value: global(name), unset: [] }
  return located(text, () => expandWord(text.value, lookup, escapeChar))
}
