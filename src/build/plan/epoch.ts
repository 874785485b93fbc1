import { DockerfileError } from '../dockerfile/errors.ts'
import { expandWord } from '../dockerfile/expand/expand.ts'
import type { Escape, Instruction, Lookup, Stage } from '../dockerfile/types.ts'
import type { SourceOperation } from '../graph/types.ts'
import { httpContext } from './context.ts'
import { at } from './errors.ts'
import { gitOperation, parseGitUrl } from './gitUrl.ts'
import { checkDigest, fileNameOf, isHttp, repository } from './instructions/sources.ts'
import type { BuildRequest, Outside } from './types.ts'

export const epochName = 'SOURCE_DATE_EPOCH'

/** What is fetched from an address. */
const operationOf = (address: string): SourceOperation => {
  const url = parseGitUrl(address)
  return url ? gitOperation(url) : httpContext(address)
}

/** Empty for a context without a time of its own. */
const contextAddress = ({ context, namedContexts }: BuildRequest, name: string): string | undefined => {
  if (name === 'context') return 'url' in context ? context.url : ''
  const specifier = Object.hasOwn(namedContexts, name) ? namedContexts[name] : undefined
  if (specifier === undefined) return undefined
  return /^(https?|git):|^git@/.test(specifier) ? specifier : ''
}

interface Values {
  given: Lookup
  globals: Lookup
  escape: Escape
}

type AddInstruction = Extract<Instruction, { name: 'ADD' }>

const addedOperation = (
  { sources, checksum, keepGitDir }: AddInstruction,
  expand: (text: string) => string,
): SourceOperation => {
  const [only, more] = sources
  if (only?.kind !== 'path' || more)
    throw new DockerfileError(`${epochName} stage must contain exactly one remote ADD source`)
  const source = expand(only.path.value)
  const sum = checksum && expand(checksum.value)
  if (isHttp(source)) {
    if (sum) checkDigest(sum)
    const filename = fileNameOf(source)
    return { kind: 'http', url: source, filename, ...(sum ? { checksum: sum } : {}) }
  }
  const url = repository(source)
  if (!url) throw new DockerfileError(`${epochName} stage source must be a single HTTP(S) or Git ADD`)
  const keepGitDirectory = url.keepGitDirectory || keepGitDir === true
  return gitOperation({ ...url, keepGitDirectory, ...(sum ? { checksum: sum } : {}) })
}

const noAdd = (): DockerfileError =>
  new DockerfileError(`${epochName} stage must contain exactly one remote ADD`)

/** What a stage fetches that does nothing else. Errors: a stage that does. */
const stageOperation = (stage: Stage, { given, globals, escape: escapeChar }: Values): SourceOperation => {
  const values = new Map<string, string>()
  const lookup: Lookup = name => values.get(name) ?? globals(name)
  const expand = (text: string): string => expandWord(text, lookup, escapeChar).value
  if (expand(stage.base.value) !== 'scratch')
    throw new DockerfileError(`${epochName} stage must use FROM scratch`)
  let found: SourceOperation | undefined
  for (const instruction of stage.instructions) {
    if (instruction.name === 'ARG')
      for (const { name, default: text } of instruction.arguments) {
        const value = given(name.value) ?? (text && expand(text.value))
        if (value !== undefined) values.set(name.value, value)
      }
    else if (instruction.name !== 'ADD')
      throw new DockerfileError(
        `${epochName} stage does not meet source-only requirements: unsupported ${instruction.keyword} instruction`,
      )
    else if (found) throw noAdd()
    else found = addedOperation(instruction, expand)
  }
  if (!found) throw noAdd()
  return found
}

/** The time of a build: seconds, or what names a context or a stage whose time it is. Errors: what is neither. */
export const epochOf = async (
  value: string,
  { request, outside, values }: { request: BuildRequest; outside: Outside; values: Values },
): Promise<number | undefined> => {
  if (value === '') return undefined
  if (/^[+-]?\d+$/.test(value)) return Number(value)
  const address = contextAddress(request, value)
  if (address === '') return undefined
  if (address !== undefined) return await outside.sourceDate(operationOf(address))
  const stage = request.dockerfile.stages.find(({ name }) => name?.value === value.toLowerCase())
  if (!stage) throw new DockerfileError(`invalid ${epochName}: ${value}`)
  const operation = at(stage.range, () => stageOperation(stage, values))
  return await outside.sourceDate(operation)
}
