import { truthOf } from '../../../wire/truth.ts'
import { quote } from '../characters.ts'
import { DirectiveReader } from '../directives.ts'
import { DockerfileError } from '../errors.ts'

/** Which checks are made: `# check=skip=…;error=…;experimental=…`, for the file or straight above an instruction. */
export interface CheckSettings {
  skip: 'all' | string[]
  experimental: 'all' | string[]
  /** A finding fails the build. */
  error: boolean
}

const namesIn = (value: string): 'all' | string[] =>
  value.trim() === 'all' ? 'all' : value.split(',').map(name => name.trim())

const readError = (option: string, value: string): boolean => {
  const truth = truthOf(value.trim())
  if (truth === undefined)
    throw new DockerfileError(
      `failed to parse check option ${quote(option)}: strconv.ParseBool: parsing ${quote(value.trim())}: invalid syntax`,
    )
  return truth
}

/** At most three options; what follows the third is part of its value. */
const optionsIn = (text: string): string[] => {
  const parts = text.split(';')
  return parts.length > 3 ? [...parts.slice(0, 2), parts.slice(2).join(';')] : parts
}

/** Reads the value of a directive. Errors: an option that there is not. */
export const parseCheckSettings = (text: string): CheckSettings => {
  const settings: CheckSettings = { skip: [], experimental: [], error: false }
  if (text.trim() === '') return settings
  for (const option of optionsIn(text.trim())) {
    const equals = option.indexOf('=')
    if (equals < 0) throw new DockerfileError(`invalid check option ${quote(option)}`)
    const name = option.slice(0, equals).trim()
    const value = option.slice(equals + 1)
    if (name === 'skip') settings.skip = namesIn(value)
    else if (name === 'experimental') settings.experimental = namesIn(value)
    else if (name === 'error') settings.error = readError(option, value)
    else throw new DockerfileError(`invalid check option ${quote(name)}`)
  }
  return settings
}

const joined = (one: 'all' | string[], other: 'all' | string[]): 'all' | string[] =>
  one === 'all' || other === 'all' ? 'all' : [...one, ...other]

const directiveIn = (comment: string): string | undefined => {
  const directive = new DirectiveReader('').read(comment)
  return directive?.key === 'check' ? directive.value.split(' ', 1)[0] : undefined
}

/** The settings with those of the comments above an instruction; one that cannot be read counts for nothing. */
export const withComments = (settings: CheckSettings, comments: string[]): CheckSettings => {
  const text = comments.map(directiveIn).find(found => found !== undefined)
  if (text === undefined) return settings
  try {
    const own = parseCheckSettings(text)
    return {
      skip: joined(settings.skip, own.skip),
      experimental: joined(settings.experimental, own.experimental),
      error: settings.error,
    }
  } catch (error) {
    if (error instanceof DockerfileError) return settings
    throw error
  }
}
