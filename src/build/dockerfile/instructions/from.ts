import { quote } from '../characters.ts'
import { DockerfileError } from '../errors.ts'
import { readFlags } from '../flags.ts'
import { type Statement, textOf } from '../statement.ts'
import type { Stage } from '../types.ts'
import { baseOf, commentOn } from './base.ts'

const nameForm = /^[a-z][a-z0-9-_.]*$/

type Named = Pick<Stage, 'name' | 'written' | 'comment'>

const nameOf = (statement: Statement): Named => {
  const [, as, name] = statement.args
  if (statement.args.length === 1) return {}
  if (statement.args.length !== 3 || as?.value.toLowerCase() !== 'as' || !name)
    throw new DockerfileError('FROM requires either one or three arguments')
  const lower = name.value.toLowerCase()
  if (!nameForm.test(lower))
    throw new DockerfileError(
      `invalid name for build stage: ${quote(name.value)}, name can't start with a number or contain symbols`,
    )
  const comment = commentOn(statement.line.comments, lower)
  return {
    name: { ...textOf(statement, name), value: lower },
    written: { as: as.value, name: name.value },
    ...(comment === undefined ? {} : { comment }),
  }
}

/** The stage that a FROM begins, without instructions yet. */
export const readFrom = (statement: Statement, index: number): Stage => {
  const named = nameOf(statement)
  const platform = readFlags(statement, { platform: 'text' }).text('platform')
  const { keyword, range, source, comments } = baseOf(statement)
  const base = statement.args[0] ?? { value: '', start: 0, end: 0 }
  return {
    index,
    keyword,
    ...named,
    base: textOf(statement, base),
    ...(platform ? { platform } : {}),
    range,
    source,
    comments,
    instructions: [],
  }
}
