import { badRequest } from '../core/errors.ts'
import { truthOf } from '../wire/truth.ts'
import { type OptionSpec, optionTable } from './options.ts'
import { optionTexts } from './optionTexts.ts'

/** Values by flag name, as the command line gave them. */
export type Given = Map<string, unknown>

const byFlag = new Map(optionTable.filter(spec => spec.flag !== '').map(spec => [spec.flag, spec]))
const byShort = new Map(optionTable.flatMap(spec => (spec.short ? [[spec.short, spec] as const] : [])))

const parseBool = (text: string, flag: string): boolean => {
  const truth = truthOf(text)
  if (truth === undefined)
    throw badRequest(`invalid argument "${text}" for "--${flag}" flag: must be true or false`)
  return truth
}

const parseInteger = (text: string, flag: string): number => {
  if (!/^-?\d+$/.test(text))
    throw badRequest(`invalid argument "${text}" for "--${flag}" flag: must be an integer`)
  return Number(text)
}

const put = (given: Given, spec: OptionSpec, text: string): void => {
  const { flag, type } = spec
  if (type === 'bool') given.set(flag, parseBool(text, flag))
  else if (type === 'int') given.set(flag, parseInteger(text, flag))
  else if (type === 'list') given.set(flag, [...((given.get(flag) as string[] | undefined) ?? []), text])
  else if (type === 'maps') {
    const [outer = '', key = '', ...value] = text.split('=')
    if (value.length === 0)
      throw badRequest(`invalid argument "${text}" for "--${flag}" flag: want <name>=<option>=<text>`)
    const before = (given.get(flag) as Record<string, object> | undefined) ?? {}
    given.set(flag, { ...before, [outer]: { ...before[outer], [key]: value.join('=') } })
  } else if (type === 'map') {
    const [key = '', ...value] = text.split('=')
    given.set(flag, { ...(given.get(flag) as object | undefined), [key]: value.join('=') })
  } else given.set(flag, text)
}

/** Reads the command line as pflag does: `--flag=x`, `--flag x`, `-Hx`, `-H x`, `-D`. Errors: `bad-request` that names the flag. */
export const parseFlags = (args: readonly string[]): Given => {
  const given: Given = new Map()
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ''
    const long = /^--([^=]+)(?:=(.*))?$/s.exec(arg)
    const short = /^-([a-zA-Z])(.*)$/s.exec(arg)
    const spec = long ? byFlag.get(long[1] ?? '') : short ? byShort.get(short[1] ?? '') : undefined
    if (!spec) throw badRequest(long || short ? `unknown flag: ${arg}` : `unexpected argument: ${arg}`)
    const inline = long ? long[2] : short?.[2] ? short[2].replace(/^=/, '') : undefined
    if (inline !== undefined) put(given, spec, inline)
    else if (spec.type === 'bool') put(given, spec, 'true')
    else {
      const next = args[++index]
      if (next === undefined) throw badRequest(`flag needs an argument: ${arg}`)
      put(given, spec, next)
    }
  }
  return given
}

const explained = {
  works: '',
  own: '',
  ignored: 'No effect: ',
  later: 'No effect yet: ',
  refused: 'Refused: ',
} as const

/** What `--help` prints. */
export const usage = (): string => {
  const lines = optionTable
    .filter(spec => spec.flag !== '')
    .map(({ flag, short, type, state }) => {
      const names = `${short ? `-${short}, ` : '    '}--${flag}${type === 'bool' ? '' : ` ${type}`}`
      return `  ${names.padEnd(40)} ${explained[state]}${optionTexts[flag] ?? ''}`
    })
  return `Usage: berthd [OPTIONS]\n\nA container engine with Docker's Engine API.\n\nOptions:\n${lines.join('\n')}\n`
}
