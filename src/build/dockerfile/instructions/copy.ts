import { DockerfileError } from '../errors.ts'
import { type Flags, readFlags } from '../flags.ts'
import { chomped, heredocMark } from '../heredoc.ts'
import { type Statement, textOf } from '../statement.ts'
import type { CopyFlags, Heredoc, Instruction, Source, Text } from '../types.ts'
import { baseOf } from './base.ts'

const sourceOf = (path: Text, heredocs: Map<string, Heredoc>): Source => {
  const mark = heredocMark(path.value)
  if (!mark) return { kind: 'path', path }
  const text = heredocs.get(mark.name)
  const content = text?.content ?? ''
  return {
    kind: 'heredoc',
    heredoc: { ...mark, range: text?.range ?? path.range, content: mark.chomp ? chomped(content) : content },
  }
}

const sourcesAndDestination = (statement: Statement): { sources: Source[]; destination: Text } => {
  const texts = statement.args.map(arg => textOf(statement, arg))
  const destination = texts.at(-1)
  if (!destination) throw noDestination(statement.name)
  if (heredocMark(destination.value))
    throw new DockerfileError(`${statement.name} cannot accept a heredoc as a destination`)
  // Of several of one name, the last one is all of them.
  const heredocs = new Map(statement.heredocs.map(heredoc => [heredoc.name, heredoc]))
  return { sources: texts.slice(0, -1).map(text => sourceOf(text, heredocs)), destination }
}

const noDestination = (name: string): DockerfileError =>
  new DockerfileError(
    `${name} requires at least two arguments, but only one was provided. Destination could not be determined`,
  )

const copyFlags = (flags: Flags): CopyFlags => {
  const chown = flags.text('chown')
  const chmod = flags.text('chmod')
  return {
    ...(chown ? { chown } : {}),
    ...(chmod ? { chmod } : {}),
    link: flags.isOn('link') ?? false,
    exclude: flags.list('exclude'),
  }
}

export const readAdd = (statement: Statement): Instruction => {
  if (statement.args.length < 2) throw noDestination('ADD')
  const flags = readFlags(statement, {
    chown: 'text',
    chmod: 'text',
    link: 'switch',
    'keep-git-dir': 'switch',
    checksum: 'text',
    unpack: 'switch',
    exclude: 'list',
  })
  const checksum = flags.text('checksum')
  const keepGitDir = flags.isOn('keep-git-dir')
  const unpack = flags.isOn('unpack')
  return {
    ...baseOf(statement, flags.names),
    name: 'ADD',
    ...sourcesAndDestination(statement),
    ...copyFlags(flags),
    ...(checksum ? { checksum } : {}),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(unpack === undefined ? {} : { unpack }),
  }
}

export const readCopy = (statement: Statement): Instruction => {
  if (statement.args.length < 2) throw noDestination('COPY')
  const flags = readFlags(statement, {
    chown: 'text',
    from: 'text',
    chmod: 'text',
    link: 'switch',
    exclude: 'list',
    parents: 'switch',
  })
  const from = flags.text('from')
  return {
    ...baseOf(statement, flags.names),
    name: 'COPY',
    ...sourcesAndDestination(statement),
    ...copyFlags(flags),
    ...(from ? { from } : {}),
    parents: flags.isOn('parents') ?? false,
  }
}
