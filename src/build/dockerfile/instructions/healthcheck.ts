import type { HealthConfig } from '../../../oci/image.ts'
import { quote } from '../characters.ts'
import { readDuration } from '../duration.ts'
import { DockerfileError } from '../errors.ts'
import { type Flags, readFlags } from '../flags.ts'
import type { Statement } from '../statement.ts'
import type { Instruction } from '../types.ts'
import { atLeastOne, baseOf } from './base.ts'

const millisecond = 1e6

const intervalOf = (flags: Flags, name: string): number | undefined => {
  const text = flags.text(name)
  const nanoseconds = text ? readDuration(text.value) : 0
  if (nanoseconds !== 0 && nanoseconds < millisecond)
    throw new DockerfileError(`Interval ${quote(name)} cannot be less than 1ms`)
  return nanoseconds === 0 ? undefined : nanoseconds
}

const retriesOf = (flags: Flags): number | undefined => {
  const text = flags.text('retries')?.value
  if (text === undefined) return undefined
  const wrong = (what: string): DockerfileError =>
    new DockerfileError(`strconv.ParseInt: parsing ${quote(text)}: ${what}`)
  if (!/^[+-]?\d+$/.test(text)) throw wrong('invalid syntax')
  const retries = Number(text)
  if (retries > 2 ** 31 - 1 || retries < -(2 ** 31)) throw wrong('value out of range')
  if (retries < 0) throw new DockerfileError(`--retries cannot be negative (${retries})`)
  return retries === 0 ? undefined : retries
}

const testOf = (statement: Statement, type: string, args: string[]): string[] => {
  if (type !== 'CMD') throw new DockerfileError(`Unknown type ${quote(type)} in HEALTHCHECK (try CMD)`)
  const command = statement.json ? args : args.slice(0, 1)
  if (command.length === 0) throw new DockerfileError('Missing command after HEALTHCHECK CMD')
  return [statement.json ? 'CMD' : 'CMD-SHELL', ...command]
}

const healthOf = (flags: Flags, test: string[]): HealthConfig => {
  const health: HealthConfig = { Test: test }
  const interval = intervalOf(flags, 'interval')
  const timeout = intervalOf(flags, 'timeout')
  const startPeriod = intervalOf(flags, 'start-period')
  const startInterval = intervalOf(flags, 'start-interval')
  const retries = retriesOf(flags)
  if (interval !== undefined) health.Interval = interval
  if (timeout !== undefined) health.Timeout = timeout
  if (startPeriod !== undefined) health.StartPeriod = startPeriod
  if (startInterval !== undefined) health.StartInterval = startInterval
  if (retries !== undefined) health.Retries = retries
  return health
}

export const readHealthcheck = (statement: Statement): Instruction => {
  const [first, ...args] = statement.args.map(({ value }) => value)
  if (first === undefined) throw atLeastOne('HEALTHCHECK')
  const type = first.toUpperCase()
  if (type === 'NONE') {
    if (args.length > 0) throw new DockerfileError('HEALTHCHECK NONE takes no arguments')
    return { ...baseOf(statement), name: 'HEALTHCHECK', health: { Test: ['NONE'] } }
  }
  const flags = readFlags(statement, {
    interval: 'text',
    timeout: 'text',
    'start-period': 'text',
    'start-interval': 'text',
    retries: 'text',
  })
  const test = testOf(statement, type, args)
  return {
    ...baseOf(statement, flags.names),
    name: 'HEALTHCHECK',
    health: healthOf(flags, test),
  }
}
