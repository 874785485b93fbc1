import { readFileSync } from 'node:fs'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import { type Given, parseFlags } from './flags.ts'
import { type OptionSpec, optionTable } from './options.ts'
import { optionTexts } from './optionTexts.ts'

/** The daemon's options from flags and daemon.json together. */
export interface Config {
  values: Given
  warnings: string[]
  configFile: string
  validateOnly: boolean
}

const defaultFile = '/etc/berth/daemon.json'

const typeOf = (value: unknown): string =>
  Array.isArray(value) ? 'list' : value === null ? 'null' : typeof value

const wanted: Record<OptionSpec['type'], string[]> = {
  bool: ['boolean'],
  string: ['string'],
  int: ['number'],
  list: ['list'],
  map: ['object'],
  maps: ['object'],
  object: ['object'],
}

const nameOf = (spec: OptionSpec): string => spec.flag || spec.key

const readFile = (file: string, named: boolean): Record<string, unknown> => {
  let text: string
  try {
    text = readFileSync(file, 'utf8').replace(/^\ufeff/, '')
  } catch (error) {
    if (hasCode(error, 'ENOENT') && !named) return {}
    throw badRequest(`unable to configure the daemon with file ${file}: ${messageOf(error)}`, error)
  }
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeOf(value) !== 'object') throw new Error('it must hold one JSON object')
    return value as Record<string, unknown>
  } catch (error) {
    throw badRequest(`unable to configure the daemon with file ${file}: ${messageOf(error)}`, error)
  }
}

const checkKeys = (file: string, content: Record<string, unknown>): Map<string, unknown> => {
  const byKey = new Map(optionTable.filter(spec => spec.key !== '').map(spec => [spec.key, spec]))
  const values = new Map<string, unknown>()
  const unknown: string[] = []
  for (const [key, value] of Object.entries(content)) {
    const spec = byKey.get(key)
    if (!spec) unknown.push(key)
    else if (!wanted[spec.type].includes(typeOf(value)))
      throw badRequest(
        `unable to configure the daemon with file ${file}: ${key} must be a ${spec.type}, not ${typeOf(value)}`,
      )
    else values.set(nameOf(spec), value)
  }
  if (unknown.length)
    throw badRequest(
      `unable to configure the daemon with file ${file}: the following directives don't match any configuration option: ${unknown.join(', ')}`,
    )
  return values
}

const checkConflicts = (file: string, flags: Given, fromFile: Map<string, unknown>): void => {
  const twice = [...fromFile.keys()].filter(name => flags.has(name))
  const keyOf = (name: string): string => optionTable.find(spec => spec.flag === name)?.key ?? name
  if (twice.length === 0) return
  const shown = twice.map(
    name =>
      `${keyOf(name)}: (from flag: ${JSON.stringify(flags.get(name))}, from file: ${JSON.stringify(fromFile.get(name))})`,
  )
  throw badRequest(
    `unable to configure the daemon with file ${file}: the following directives are specified both as a flag and in the configuration file: ${shown.join(', ')}`,
  )
}

const isHarmless = (spec: OptionSpec, value: unknown): boolean =>
  'harmless' in spec && JSON.stringify(spec.harmless) === JSON.stringify(value)

const checkStates = (values: Given): string[] => {
  const warnings: string[] = []
  for (const spec of optionTable) {
    const name = nameOf(spec)
    if (spec.pointless?.here() && values.get(name) === true) warnings.push(spec.pointless.warning)
    if (spec.state === 'works' || spec.state === 'own' || !values.has(name)) continue
    const value = values.get(name)
    if (spec.state === 'refused') {
      if (isHarmless(spec, value)) continue
      throw badRequest(
        `the option ${name} is not supported by this version of Berth, and ignoring it would weaken security or lose data; remove it to start`,
      )
    }
    warnings.push(
      spec.state === 'ignored'
        ? `the option ${name} has no effect: ${optionTexts[name]}`
        : `the option ${name} has no effect: this version of Berth does not have it yet`,
    )
  }
  return warnings
}

/** Reads flags and the file they name. Errors: `bad-request` that names what is wrong. */
export const readConfig = (args: readonly string[]): Config => {
  const flags = parseFlags(args)
  const named = flags.get('config-file') as string | undefined
  const configFile = named ?? defaultFile
  const fromFile = checkKeys(configFile, readFile(configFile, named !== undefined))
  checkConflicts(configFile, flags, fromFile)
  const values: Given = new Map([...fromFile, ...flags])
  return { values, warnings: checkStates(values), configFile, validateOnly: values.get('validate') === true }
}
