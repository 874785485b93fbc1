import { messageOf } from '../../../core/errors.ts'
import { signalNumber } from '../../../linux/signals.ts'
import { checkPort } from '../../dockerfile/checks/context.ts'
import { DockerfileError } from '../../dockerfile/errors.ts'
import { expandWords } from '../../dockerfile/expand/expand.ts'
import { readPorts } from '../../dockerfile/ports.ts'
import type { Instruction, InstructionName } from '../../dockerfile/types.ts'
import { addHistory, healthText, plainList, quotedList } from '../history.ts'
import { lookupOf, type PlannedStage, type Planning, setEnv } from '../stage.ts'
import { argsOf } from './shell.ts'

/** Instructions that set something in the image's configuration, and leave its files as they are. */

type Planner<Name extends InstructionName> = (
  planning: Planning,
  stage: PlannedStage,
  instruction: Extract<Instruction, { name: Name }>,
) => void

/** `NAME=value` in its place, or at the end. */
const withVariable = (env: string[], name: string, value: string): string[] => {
  const at = env.findIndex(entry => entry.split('=', 1)[0] === name)
  return at < 0 ? [...env, `${name}=${value}`] : env.with(at, `${name}=${value}`)
}

const planEnv: Planner<'ENV'> = (planning, stage, { pairs }) => {
  const { config } = stage.image
  for (const { key, value } of pairs) {
    setEnv(stage, key.value, value.value)
    config.Env = withVariable(config.Env ?? [], key.value, value.value)
  }
  addHistory(planning, stage, `ENV ${pairs.map(({ key, value }) => `${key.value}=${value.value}`).join(' ')}`)
}

const planLabel: Planner<'LABEL'> = (planning, stage, { pairs }) => {
  const labels = pairs.map(({ key, value }) => [key.value, value.value] as const)
  stage.image.config.Labels = { ...stage.image.config.Labels, ...Object.fromEntries(labels) }
  addHistory(planning, stage, `LABEL ${labels.map(([key, value]) => `${key}=${value}`).join(' ')}`)
}

const planCmd: Planner<'CMD'> = (planning, stage, { command }) => {
  const args = argsOf(stage, command)
  stage.image.config.Cmd = args
  stage.image.config.ArgsEscaped = true
  stage.hasCommand = true
  addHistory(planning, stage, `CMD ${quotedList(args)}`)
}

/** A CMD of the base image was meant for its own entrypoint. */
const planEntrypoint: Planner<'ENTRYPOINT'> = (planning, stage, { command }) => {
  const args = argsOf(stage, command)
  stage.image.config.Entrypoint = args
  if (!stage.hasCommand) delete stage.image.config.Cmd
  addHistory(planning, stage, `ENTRYPOINT ${quotedList(args)}`)
}

const planHealthcheck: Planner<'HEALTHCHECK'> = (planning, stage, { health }) => {
  stage.image.config.Healthcheck = health
  addHistory(planning, stage, healthText(health))
}

const planExpose: Planner<'EXPOSE'> = (planning, stage, instruction) => {
  const lookup = lookupOf(stage)
  const texts = instruction.ports.flatMap(({ value }) => expandWords(value, lookup, planning.escape).words)
  const ports = texts.flatMap(text => {
    const read = readPorts(text)
    checkPort(planning.checker, instruction, text)
    return read
  })
  const exposed = Object.fromEntries(ports.map(port => [port, {}]))
  stage.image.config.ExposedPorts = { ...stage.image.config.ExposedPorts, ...exposed }
  addHistory(planning, stage, `EXPOSE ${plainList(ports)}`)
}

const planUser: Planner<'USER'> = (planning, stage, { user }) => {
  stage.user = user.value
  stage.image.config.User = user.value
  addHistory(planning, stage, `USER ${user.value}`)
}

const planVolume: Planner<'VOLUME'> = (planning, stage, { volumes }) => {
  const paths = volumes.map(({ value }) => value)
  if (paths.includes('')) throw new DockerfileError('VOLUME specified can not be an empty string')
  const added = Object.fromEntries(paths.map(path => [path, {}]))
  stage.image.config.Volumes = { ...stage.image.config.Volumes, ...added }
  addHistory(planning, stage, `VOLUME ${plainList(paths)}`)
}

/** As containers take it: a number that is none would fail them only when they are to stop. */
const checkSignal = (text: string): void => {
  try {
    signalNumber(text)
  } catch (error) {
    throw new DockerfileError(messageOf(error))
  }
}

const planStopSignal: Planner<'STOPSIGNAL'> = (planning, stage, { signal: { value } }) => {
  checkSignal(value)
  stage.image.config.StopSignal = value
  addHistory(planning, stage, `STOPSIGNAL ${value}`)
}

const planShell: Planner<'SHELL'> = (planning, stage, { shell }) => {
  stage.image.config.Shell = shell
  addHistory(planning, stage, `SHELL ${plainList(shell)}`)
}

const planMaintainer: Planner<'MAINTAINER'> = (planning, stage, { maintainer }) => {
  stage.image.author = maintainer.value
  addHistory(planning, stage, `MAINTAINER ${maintainer.value}`)
}

/** What images that are built on this one do; the history does not tell of it. */
const planOnbuild: Planner<'ONBUILD'> = (_planning, stage, { expression }) => {
  const { config } = stage.image
  config.OnBuild = [...(config.OnBuild ?? []), expression]
}

export const settings = {
  CMD: planCmd,
  ENTRYPOINT: planEntrypoint,
  ENV: planEnv,
  EXPOSE: planExpose,
  HEALTHCHECK: planHealthcheck,
  LABEL: planLabel,
  MAINTAINER: planMaintainer,
  ONBUILD: planOnbuild,
  SHELL: planShell,
  STOPSIGNAL: planStopSignal,
  USER: planUser,
  VOLUME: planVolume,
}
