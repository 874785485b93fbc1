import type { DockerfileError } from '../dockerfile/errors.ts'
import { excerpt } from '../dockerfile/errors.ts'
import type { Range, Warning } from '../dockerfile/types.ts'
import type { Outline, Target } from '../plan/types.ts'
import type { DockerfileSource } from './frontend.ts'
import { textTable } from './textTable.ts'

/** Answers as BuildKit's clients read them (frontend/subrequests): JSON, and the same as text for terminals. */

export interface Answer {
  json: unknown
  text: string
  /** What the client's command is to end with. */
  status?: number
}

/** Zeros are left out, as Go does of protobuf's messages. */
const rangeOf = ({ start, end }: Range): object => {
  const position = ({ line, column }: Range['start']): object => ({
    ...(line > 0 ? { line } : {}),
    ...(column > 0 ? { character: column } : {}),
  })
  return { start: position(start), end: position(end) }
}

const locationOf = (ranges: readonly Range[]): object =>
  ranges.length > 0 ? { ranges: ranges.map(rangeOf) } : {}

const located = (ranges: readonly Range[]): object =>
  ranges.length > 0 ? { location: locationOf(ranges) } : {}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

const headed = (rows: readonly string[][], head: string[]): string =>
  rows.length > 0 ? `${textTable([head, ...rows], 3)}\n` : ''

const outlineText = ({ name, description, arguments: args, secrets, ssh }: Outline): string => {
  const target = [['TARGET:', name || '(default)'], ...(description ? [['DESCRIPTION:', description]] : [])]
  const needed = (entries: Outline['secrets'], kind: string): string =>
    headed(
      entries.map(entry => [entry.name, entry.required ? 'true' : '']),
      [kind, 'REQUIRED'],
    )
  return [
    name || description ? `${textTable(target, 1)}\n` : '',
    headed(
      args.map(entry => [entry.name, entry.value, entry.description]),
      ['BUILD ARG', 'VALUE', 'DESCRIPTION'],
    ),
    needed(secrets, 'SECRET'),
    needed(ssh, 'SSH'),
  ].join('')
}

const unlessEmpty = <T>(name: string, entries: readonly T[], form: (entry: T) => object): object =>
  entries.length > 0 ? { [name]: entries.map(form) } : {}

export const outlineAnswer = (outline: Outline, source: DockerfileSource): Answer => {
  const needed = ({ name, required, ranges }: Outline['secrets'][number]): object => ({
    name,
    ...(required ? { required } : {}),
    ...located(ranges),
  })
  const json = {
    ...(outline.name ? { name: outline.name } : {}),
    ...(outline.description ? { description: outline.description } : {}),
    ...unlessEmpty('args', outline.arguments, ({ name, description, value, ranges }) => ({
      name,
      ...(description ? { description } : {}),
      ...(value ? { value } : {}),
      ...located(ranges),
    })),
    ...unlessEmpty('secrets', outline.secrets, needed),
    ...unlessEmpty('ssh', outline.ssh, needed),
    sources: [base64(source.text)],
  }
  return { json, text: outlineText(outline) }
}

const targetRow = ({ name, description, default: isDefault }: Target): string[] => [
  isDefault ? `${name} (default)`.trimStart() : name,
  description,
]

export const targetsAnswer = (targets: readonly Target[], source: DockerfileSource): Answer => ({
  json: {
    targets: targets.map(({ ranges, ...target }) => ({
      ...Object.fromEntries(Object.entries(target).filter(([, value]) => value !== '' && value !== false)),
      ...located(ranges),
    })),
    sources: [base64(source.text)],
  },
  text: textTable([['TARGET', 'DESCRIPTION'], ...targets.map(targetRow)], 1),
})

const lineOf = ({ ranges }: Warning): number => ranges[0]?.start.line ?? 0

const warningText = (warning: Warning, { text, fileName }: DockerfileSource): string => {
  const { rule, url, message, ranges } = warning
  return `\nWARNING: ${rule}${url ? ` - ${url}` : ''}\n${message}\n${excerpt(text, ranges, fileName)}`
}

/** What checks found, and what is wrong beyond: clients end with 1 where there is anything. */
export interface Findings {
  warnings: readonly Warning[]
  error?: { message: string; ranges: DockerfileError['ranges'] }
  source: DockerfileSource
}

export const lintAnswer = ({ warnings, error, source }: Findings): Answer => ({
  json: {
    warnings:
      warnings.length === 0
        ? null
        : warnings.map(({ rule, description, url, message, ranges }) => ({
            ruleName: rule,
            ...(description ? { description } : {}),
            ...(url ? { url } : {}),
            ...(message ? { detail: message } : {}),
            location: locationOf(ranges),
          })),
    sources: [{ filename: source.fileName, data: base64(source.text), language: 'Dockerfile' }],
    ...(error ? { buildError: { message: error.message, location: locationOf(error.ranges) } } : {}),
  },
  text: warnings
    .toSorted((a, b) => lineOf(a) - lineOf(b))
    .map(warning => warningText(warning, source))
    .join(''),
  status: warnings.length > 0 || error ? 1 : 0,
})
