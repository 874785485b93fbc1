import path from 'node:path'
import { badRequest } from '../../core/errors.ts'
import { signalNumber } from '../../linux/signals.ts'
import type { HealthConfig } from '../../oci/image.ts'
import type { ContainerConfig } from '../../wire/container.ts'
import {
  expand,
  type InstructionLine,
  instructionLines,
  jsonStrings,
  nameValues,
  parseDuration,
} from './instructionText.ts'

/** `--change` of commit and import: Dockerfile instructions that change a configuration only. */

/** The configuration while the instructions are carried out. */
interface Draft {
  config: ContainerConfig
  /** A CMD came before: an ENTRYPOINT then leaves the command alone. */
  commandSet: boolean
}

type Apply = (draft: Draft, line: InstructionLine) => void

const defaultShell = ['/bin/sh', '-c']

const expanded = ({ config }: Draft, text: string): string =>
  expand(text, name => config.Env?.find(entry => entry.startsWith(`${name}=`))?.slice(name.length + 1))

const exactlyOne = (line: InstructionLine): string => {
  if (line.rest === '') throw badRequest(`${line.name.toUpperCase()} requires exactly one argument`)
  return line.rest
}

/** The list, or the text as an argument of the shell. */
const commandLine = ({ config }: Draft, text: string): string[] =>
  jsonStrings(text) ?? (text === '' ? [] : [...(config.Shell ?? defaultShell), text])

const setCommand: Apply = (draft, line) => {
  draft.config.Cmd = commandLine(draft, line.rest)
  if (line.rest !== '') draft.commandSet = true
}

const setEntrypoint: Apply = (draft, line) => {
  draft.config.Entrypoint = commandLine(draft, line.rest)
  if (!draft.commandSet) delete draft.config.Cmd
}

const setEnvironment: Apply = (draft, line) => {
  const before = { ...draft, config: { ...draft.config, Env: [...(draft.config.Env ?? [])] } }
  const environment = [...before.config.Env]
  for (const [rawName, rawValue] of nameValues(line.rest, 'ENV')) {
    // Variables mean what they meant before this instruction.
    const name = expanded(before, rawName)
    const entry = `${name}=${expanded(before, rawValue)}`
    const at = environment.findIndex(known => known.split('=', 1)[0] === name)
    if (at < 0) environment.push(entry)
    else environment[at] = entry
  }
  draft.config.Env = environment
}

const setLabels: Apply = (draft, line) => {
  const labels = nameValues(line.rest, 'LABEL').map(([name, value]): [string, string] => [
    expanded(draft, name),
    expanded(draft, value),
  ])
  draft.config.Labels = { ...draft.config.Labels, ...Object.fromEntries(labels) }
}

const words = (text: string): string[] => text.split(/\s+/).filter(Boolean)

const portForm = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i

const portsOf = (spec: string): string[] => {
  const [, first, last = first, protocol = 'tcp'] = portForm.exec(spec) ?? []
  const [from, to] = [Number(first), Number(last)]
  if (first === undefined || from < 1 || to > 65_535 || from > to)
    throw badRequest(`invalid containerPort: ${spec}`)
  return Array.from({ length: to - from + 1 }, (_, index) => `${from + index}/${protocol.toLowerCase()}`)
}

const setExposed: Apply = (draft, line) => {
  if (line.rest === '') throw badRequest('EXPOSE requires at least one argument')
  const ports = words(line.rest).flatMap(word => words(expanded(draft, word)))
  draft.config.ExposedPorts = {
    ...draft.config.ExposedPorts,
    ...Object.fromEntries(ports.flatMap(portsOf).map(port => [port, {}])),
  }
}

const setVolumes: Apply = (draft, line) => {
  if (line.rest === '') throw badRequest('VOLUME requires at least one argument')
  const places = (jsonStrings(line.rest) ?? words(line.rest)).map(place => expanded(draft, place).trim())
  if (places.includes('')) throw badRequest('VOLUME specified can not be an empty string')
  draft.config.Volumes = { ...draft.config.Volumes, ...Object.fromEntries(places.map(place => [place, {}])) }
}

const setUser: Apply = (draft, line) => {
  draft.config.User = expanded(draft, exactlyOne(line))
}

const setDirectory: Apply = (draft, line) => {
  const wanted = expanded(draft, exactlyOne(line))
  if (wanted === '') throw badRequest('cannot normalize nothing')
  const joined = path.posix.resolve('/', draft.config.WorkingDir ?? '', wanted)
  draft.config.WorkingDir = joined
}

const setStopSignal: Apply = (draft, line) => {
  const signal = expanded(draft, exactlyOne(line))
  signalNumber(signal)
  draft.config.StopSignal = signal
}

const addTrigger: Apply = (draft, line) => {
  const [first] = words(line.rest)
  if (first === undefined) throw badRequest('ONBUILD requires at least one argument')
  const trigger = first.toUpperCase()
  if (trigger === 'ONBUILD') throw badRequest("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
  if (trigger === 'FROM' || trigger === 'MAINTAINER')
    throw badRequest(`${trigger} isn't allowed as an ONBUILD trigger`)
  draft.config.OnBuild = [...(draft.config.OnBuild ?? []), line.rest]
}

const healthTimes = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const

const healthOptions = (flags: Map<string, string>): HealthConfig => {
  const config: HealthConfig = {}
  for (const [name, value] of flags) {
    const field = healthTimes[name as keyof typeof healthTimes]
    if (name === 'retries') {
      if (!/^-?\d+$/.test(value))
        throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`)
      if (Number(value) < 0) throw badRequest(`--retries cannot be negative (${value})`)
      config.Retries = Number(value)
      continue
    }
    if (!field) throw badRequest(`unknown flag: ${name}`)
    const nanos = parseDuration(value)
    if (nanos !== 0 && nanos < 1e6) throw badRequest(`Interval "${name}" cannot be less than 1ms`)
    config[field] = nanos
  }
  return config
}

const setHealth: Apply = (draft, { rest, flags }) => {
  const [, type = '', command = ''] = /^(\S+)\s*(.*)$/s.exec(rest) ?? []
  if (type === '') throw badRequest('HEALTHCHECK requires at least one argument')
  const kind = type.toUpperCase()
  if (kind === 'NONE') {
    if (command !== '') throw badRequest('HEALTHCHECK NONE takes no arguments')
    draft.config.Healthcheck = { Test: ['NONE'] }
    return
  }
  if (kind !== 'CMD') throw badRequest(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`)
  const list = jsonStrings(command)
  if (command === '' || list?.length === 0) throw badRequest('Missing command after HEALTHCHECK CMD')
  draft.config.Healthcheck = {
    Test: list ? ['CMD', ...list] : ['CMD-SHELL', command],
    ...healthOptions(flags),
  }
}

const instructions: Record<string, Apply> = {
  cmd: setCommand,
  entrypoint: setEntrypoint,
  env: setEnvironment,
  expose: setExposed,
  healthcheck: setHealth,
  label: setLabels,
  onbuild: addTrigger,
  stopsignal: setStopSignal,
  user: setUser,
  volume: setVolumes,
  workdir: setDirectory,
}

/** A new configuration with the instructions carried out on it. Errors: `bad-request` in Docker's words. */
export const applyChanges = (config: ContainerConfig, changes: readonly string[]): ContainerConfig => {
  const lines = instructionLines(changes.join('\n'))
  const draft: Draft = { config: { ...config }, commandSet: false }
  for (const { name } of lines)
    if (!Object.hasOwn(instructions, name.toLowerCase()))
      throw badRequest(`${name} is not a valid change command`)
  for (const line of lines) instructions[line.name.toLowerCase()]?.(draft, line)
  return draft.config
}
