import { DockerfileError } from '../errors.ts'
import { instructionNames, type Statement } from '../statement.ts'
import { suggest } from '../suggestion.ts'
import type { Instruction } from '../types.ts'
import { readCmd, readEntrypoint, readShell } from './commandLine.ts'
import { readAdd, readCopy } from './copy.ts'
import { readHealthcheck } from './healthcheck.ts'
import { readRun } from './run.ts'
import {
  readArg,
  readEnv,
  readExpose,
  readLabel,
  readMaintainer,
  readOnbuild,
  readStopSignal,
  readUser,
  readVolume,
  readWorkdir,
} from './settings.ts'

const readers: Record<string, (statement: Statement) => Instruction> = {
  ADD: readAdd,
  ARG: readArg,
  CMD: readCmd,
  COPY: readCopy,
  ENTRYPOINT: readEntrypoint,
  ENV: readEnv,
  EXPOSE: readExpose,
  HEALTHCHECK: readHealthcheck,
  LABEL: readLabel,
  MAINTAINER: readMaintainer,
  ONBUILD: readOnbuild,
  RUN: readRun,
  SHELL: readShell,
  STOPSIGNAL: readStopSignal,
  USER: readUser,
  VOLUME: readVolume,
  WORKDIR: readWorkdir,
}

const unknown = ({ keyword, name }: Statement): DockerfileError => {
  const option = suggest(name, instructionNames)
  const meant = keyword === keyword.toUpperCase() ? option : option?.toLowerCase()
  const words = `unknown instruction: ${keyword}`
  return new DockerfileError(meant === undefined ? words : `${words} (did you mean ${meant}?)`)
}

/** What a statement means; FROM is none of these. */
export const readInstruction = (statement: Statement): Instruction => {
  const read = Object.hasOwn(readers, statement.name) ? readers[statement.name] : undefined
  if (!read) throw unknown(statement)
  return read(statement)
}
