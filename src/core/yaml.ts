import { messageOf } from './errors.ts'

/** `0o17`, and as Go's readers take it also `017`. */
const octal = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^[-+]?0o?[0-7]+$/,
  resolve: (text: string): number => {
    const [, sign, digits] = /^([-+]?)0o?([0-7]+)$/.exec(text) ?? []
    return Number.parseInt(`${sign}${digits}`, 8)
  },
}

/** Aliases may blow a text up to this many times its nodes, no further. */
const maxAliasCount = 100

/**
 * The one document of a YAML text, read as the programs in Go read theirs:
 * version 1.2's core, with `0440` octal and merge keys (`<<`). The library is
 * loaded with the first text. Errors: an Error whose message ends with line and column.
 */
export const parseYaml = async (text: string): Promise<unknown> => {
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text, {
    schema: 'core',
    merge: true,
    customTags: tags => [octal, ...tags],
    prettyErrors: false,
  })
  const [error] = document.errors
  if (error) throw new Error(`invalid YAML: ${error.message} at ${placeOf(text, error.pos[0])}`)
  try {
    return document.toJS({ maxAliasCount })
  } catch (failure) {
    throw new Error(`invalid YAML: ${messageOf(failure)}`, { cause: failure })
  }
}

const placeOf = (text: string, offset: number): string => {
  const before = text.slice(0, offset).split('\n')
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`
}
