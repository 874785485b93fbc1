import { trimSpace } from '../characters.ts'
import { DockerfileError } from '../errors.ts'
import { readFlags } from '../flags.ts'
import { type Statement, textOf } from '../statement.ts'
import type { Argument, Instruction, Pair, Text } from '../types.ts'
import { atLeastOne, baseOf, commentOn, exactlyOne } from './base.ts'

/** Instructions that set something in the image's configuration. */

const blankName = (name: string): DockerfileError => new DockerfileError(`${name} names can not be blank`)

const pairsOf = (statement: Statement): Pair[] => {
  const { args, legacy, name } = statement
  if (args.length === 0) throw atLeastOne(name)
  const pairs: Pair[] = []
  for (let at = 0; at + 1 < args.length; at += 2) {
    const [key, value] = [args[at], args[at + 1]]
    if (!key?.value || !value) throw blankName(name)
    pairs.push({ key: textOf(statement, key), value: textOf(statement, value), legacy })
  }
  return pairs
}

export const readEnv = (statement: Statement): Instruction => ({
  ...baseOf(statement, readFlags(statement).names),
  name: 'ENV',
  pairs: pairsOf(statement),
})

export const readLabel = (statement: Statement): Instruction => ({
  ...baseOf(statement, readFlags(statement).names),
  name: 'LABEL',
  pairs: pairsOf(statement),
})

/** `name` or `name=default`; of a default without a name nobody could know the value. */
export const readArg = (statement: Statement): Extract<Instruction, { name: 'ARG' }> => {
  if (statement.args.length === 0) throw atLeastOne('ARG')
  const read = statement.args.map((arg): Argument => {
    const equals = arg.value.indexOf('=')
    if (equals === 0) throw blankName('ARG')
    const end = equals < 0 ? arg.value.length : equals
    const name = { value: arg.value.slice(0, end), start: arg.start, end: arg.start + end }
    const value = { value: arg.value.slice(end + 1), start: name.end + 1, end: arg.end }
    const comment = commentOn(statement.line.comments, name.value)
    return {
      name: textOf(statement, name),
      ...(equals < 0 ? {} : { default: textOf(statement, value) }),
      ...(comment === undefined ? {} : { comment }),
    }
  })
  return { ...baseOf(statement), name: 'ARG', arguments: read }
}

const onlyText = (statement: Statement): Text => {
  const [only] = statement.args
  if (!only) throw exactlyOne(statement.name)
  return textOf(statement, only)
}

export const readMaintainer = (statement: Statement): Instruction => {
  const maintainer = onlyText(statement)
  readFlags(statement)
  return { ...baseOf(statement), name: 'MAINTAINER', maintainer }
}

export const readUser = (statement: Statement): Instruction => {
  const user = onlyText(statement)
  readFlags(statement)
  return { ...baseOf(statement), name: 'USER', user }
}

export const readWorkdir = (statement: Statement): Instruction => {
  const path = onlyText(statement)
  readFlags(statement)
  return { ...baseOf(statement), name: 'WORKDIR', path }
}

/** Its flags are passed over, as those of ARG are. */
export const readStopSignal = (statement: Statement): Instruction => ({
  ...baseOf(statement),
  name: 'STOPSIGNAL',
  signal: onlyText(statement),
})

export const readExpose = (statement: Statement): Instruction => {
  if (statement.args.length === 0) throw atLeastOne('EXPOSE')
  readFlags(statement)
  const ports = statement.args.map(arg => textOf(statement, arg))
  ports.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0))
  return { ...baseOf(statement), name: 'EXPOSE', ports }
}

export const readVolume = (statement: Statement): Instruction => {
  if (statement.args.length === 0) throw atLeastOne('VOLUME')
  readFlags(statement)
  const volumes = statement.args.map(arg => {
    const volume = trimSpace(arg.value)
    if (volume === '') throw new DockerfileError('VOLUME specified can not be an empty string')
    return { ...textOf(statement, arg), value: volume }
  })
  return { ...baseOf(statement), name: 'VOLUME', volumes }
}

/** What is to be read when another image is built from this one, with its heredocs. */
export const readOnbuild = (statement: Statement): Instruction => {
  const { trigger, heredocs } = statement
  if (!trigger) throw atLeastOne('ONBUILD')
  readFlags(statement)
  if (trigger.name === 'ONBUILD')
    throw new DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
  if (trigger.name === 'MAINTAINER' || trigger.name === 'FROM')
    throw new DockerfileError(`${trigger.name} isn't allowed as an ONBUILD trigger`)
  // Images have it with the spaces at its end.
  const { text } = statement.line
  const expression = text.slice(statement.keyword.length).replace(/^[\t\f\r ]+/, '')
  const texts = heredocs.map(({ content, name }) => `\n${content}${name}`)
  return { ...baseOf(statement), name: 'ONBUILD', expression: expression + texts.join('') }
}
