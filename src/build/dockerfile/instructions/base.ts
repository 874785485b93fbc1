import { DockerfileError } from '../errors.ts'
import { type Statement, sourceOf } from '../statement.ts'
import type { Instruction } from '../types.ts'

type Base = Pick<Instruction, 'keyword' | 'range' | 'source' | 'comments' | 'flags'>

/** What all instructions have. */
export const baseOf = (statement: Statement, flags: string[] = []): Base => ({
  keyword: statement.keyword,
  range: statement.line.range,
  source: sourceOf(statement),
  comments: statement.line.comments,
  flags,
})

export const atLeastOne = (name: string): DockerfileError =>
  new DockerfileError(`${name} requires at least one argument`)

export const exactlyOne = (name: string): DockerfileError =>
  new DockerfileError(`${name} requires exactly one argument`)

/** What a comment straight above tells about a name that it begins with. */
export const commentOn = (comments: string[], name: string): string | undefined =>
  name === '' ? undefined : comments.find(line => line.startsWith(`${name} `))?.slice(name.length + 1)
