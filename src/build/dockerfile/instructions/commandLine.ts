import { DockerfileError } from '../errors.ts'
import { readFlags } from '../flags.ts'
import { chomped, heredocMark } from '../heredoc.ts'
import type { Statement } from '../statement.ts'
import { type CommandLine, type Instruction, scriptFolder } from '../types.ts'
import { atLeastOne, baseOf } from './base.ts'

/** A heredoc that is all of the command is a script of its own; others the shell reads. */
const shellForm = (line: string, { heredocs }: Statement): CommandLine => {
  const [first] = heredocs
  if (!first) return { form: 'shell', script: line, heredocs }
  if (!heredocMark(line)) {
    const texts = heredocs.map(({ content, name }) => `\n${content}${name}`)
    return { form: 'shell', script: line + texts.join(''), heredocs }
  }
  const content = first.chomp ? chomped(first.content) : first.content
  if (!content.startsWith('#!')) return { form: 'shell', script: content, heredocs }
  const { name } = first
  return { form: 'shell', script: `${scriptFolder}/${name}`, heredocs, file: { name, content } }
}

export const commandOf = (statement: Statement): CommandLine =>
  statement.json
    ? { form: 'exec', words: statement.args.map(({ value }) => value) }
    : shellForm(statement.args.map(({ value }) => value).join(' '), statement)

export const readCmd = (statement: Statement): Instruction => ({
  ...baseOf(statement, readFlags(statement).names),
  name: 'CMD',
  command: commandOf(statement),
})

export const readEntrypoint = (statement: Statement): Instruction => ({
  ...baseOf(statement, readFlags(statement).names),
  name: 'ENTRYPOINT',
  command: commandOf(statement),
})

export const readShell = (statement: Statement): Instruction => {
  readFlags(statement)
  if (statement.args.length === 0) throw atLeastOne('SHELL')
  if (!statement.json) throw new DockerfileError('SHELL requires the arguments to be in JSON form')
  return { ...baseOf(statement), name: 'SHELL', shell: statement.args.map(({ value }) => value) }
}
