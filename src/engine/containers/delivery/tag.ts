import { badRequest, notImplemented } from '../../../core/errors.ts'
import { attributesOf } from './attributes.ts'
import type { LogOptions, LogSource } from './types.ts'

/**
 * The tag of a container's lines: text with Go's `{{…}}`, of which fields, constants, functions and
 * pipes are known here, and no conditions or loops.
 */
type Value = string | number | string[] | Record<string, string>

const short = (id: string): string => id.replace(/^sha256:/, '').slice(0, 12)

const fields: Record<string, (source: LogSource, options: LogOptions) => Value> = {
  ID: ({ id }) => short(id),
  FullID: ({ id }) => id,
  ContainerID: ({ id }) => id,
  Name: ({ name }) => name,
  ContainerName: ({ name }) => `/${name}`,
  Command: ({ command }) => command,
  ImageID: ({ imageId }) => short(imageId),
  ImageFullID: ({ imageId }) => imageId,
  ContainerImageID: ({ imageId }) => imageId,
  ImageName: ({ imageName }) => imageName,
  ContainerImageName: ({ imageName }) => imageName,
  Hostname: ({ hostname }) => hostname,
  ContainerLabels: ({ labels }) => labels,
  ContainerEnv: ({ env }) => [...env],
  Config: (_, options) => ({ ...options }),
  DaemonName: () => 'docker',
  ExtraAttributes: (source, options) => attributesOf(source, options),
}

const wrong = (text: string, why: string): Error => badRequest(`template: log-tag:1: ${why} in "${text}"`)

const functions: Record<string, (...args: Value[]) => Value> = {
  json: value => JSON.stringify(value),
  split: (text = '', by = '') => String(text).split(String(by)),
  join: (list = [], by = '') => (Array.isArray(list) ? list.join(String(by)) : String(list)),
  title: (text = '') => String(text).replace(/(^|[^\p{L}\p{N}_])\p{L}/gu, first => first.toUpperCase()),
  lower: (text = '') => String(text).toLowerCase(),
  upper: (text = '') => String(text).toUpperCase(),
  pad: (text = '', before = 0, after = 0) =>
    text === '' ? '' : `${' '.repeat(Number(before))}${text}${' '.repeat(Number(after))}`,
  truncate: (text = '', length = 0) => String(text).slice(0, Number(length)),
  len: (value = '') =>
    typeof value === 'object' ? Object.keys(value).length : Buffer.byteLength(String(value)),
  slice: (text = '', from = 0, to?: Value) =>
    String(text).slice(Number(from), to === undefined ? undefined : Number(to)),
  printf: (form = '', ...args) => formatted(String(form), args),
  print: (...all) => all.map(shown).join(''),
  index: (from = '', key = '') =>
    (typeof from === 'object' ? (from as Record<string, string>)[String(key)] : undefined) ?? '',
}

/** The verbs that a tag has use for; `%q` in quotes. */
const formatted = (form: string, args: readonly Value[]): string => {
  const rest = [...args]
  return form.replace(/%(.)/g, (_, verb: string) => {
    if (verb === '%') return '%'
    if (!'svdq'.includes(verb)) throw notImplemented(`the tag's template with %${verb}`)
    const text = shown(rest.shift() ?? '')
    return verb === 'q' ? JSON.stringify(text) : text
  })
}

const shown = (value: Value): string => {
  if (Array.isArray(value)) return `[${value.join(' ')}]`
  if (typeof value !== 'object') return String(value)
  return `map[${Object.keys(value)
    .sort()
    .map(key => `${key}:${value[key]}`)
    .join(' ')}]`
}

const words = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|-?\d+|\.[\w.]+|\w+|\|)/y

const tokens = (action: string): string[] => {
  const found: string[] = []
  words.lastIndex = 0
  while (words.lastIndex < action.trimEnd().length) {
    const match = words.exec(action)
    if (!match?.[1]) throw notImplemented(`the tag's template {{${action}}}`)
    found.push(match[1])
  }
  return found
}

type Context = readonly [LogSource, LogOptions]

const operand = (word: string, [source, options]: Context): Value => {
  if (word.startsWith('"')) return JSON.parse(word) as string
  if (word.startsWith('`')) return word.slice(1, -1)
  if (/^-?\d+$/.test(word)) return Number(word)
  const [name = '', ...keys] = word.slice(1).split('.')
  const field = word.startsWith('.') && Object.hasOwn(fields, name) ? fields[name] : undefined
  if (!field) throw wrong(word, "can't evaluate field")
  return keys.reduce<Value>((value, key) => functions['index']?.(value, key) ?? '', field(source, options))
}

/** One command of a pipe; what came before it is its last argument. */
const command = (parts: readonly string[], before: Value | undefined, context: Context): Value => {
  const [first = '', ...rest] = parts
  const piped = before === undefined ? [] : [before]
  if (!/^[a-z]\w*$/i.test(first)) {
    const isCalled = first === '.ExtraAttributes' && rest.join() === 'nil'
    if ((rest.length && !isCalled) || piped.length) throw wrong(first, "can't give argument to non-function")
    return operand(first, context)
  }
  const known = Object.hasOwn(functions, first) ? functions[first] : undefined
  if (!known) throw badRequest(`template: log-tag:1: function "${first}" not defined`)
  return known(...rest.map(word => operand(word, context)), ...piped)
}

const evaluate = (action: string, context: Context): string => {
  let value: Value | undefined
  let parts: string[] = []
  for (const word of [...tokens(action), '|']) {
    if (word !== '|') parts.push(word)
    else if (parts.length === 0) throw badRequest('template: log-tag:1: missing value for command')
    else {
      value = command(parts, value, context)
      parts = []
    }
  }
  return shown(value ?? '')
}

/** Errors: `bad-request` for what is no template, `not-implemented` for one that is not understood here. */
export const tagOf = (source: LogSource, options: LogOptions): string => {
  const template = options['tag'] || '{{.ID}}'
  let text = ''
  let at = 0
  for (const match of template.matchAll(/\{\{(.*?)\}\}/g)) {
    text += template.slice(at, match.index)
    text += evaluate((match[1] ?? '').replace(/^- | -$/g, ''), [source, options])
    at = match.index + match[0].length
  }
  if (template.indexOf('{{', at) >= 0) throw badRequest('template: log-tag:1: unclosed action')
  return text + template.slice(at)
}
