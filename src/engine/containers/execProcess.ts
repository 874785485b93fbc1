import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { RuntimeSpec, SpecProcess } from '../../oci/runtimeSpec.ts'
import type { ExecCreateRequest } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { ensureDefaultProfile } from './appArmor.ts'
import type { Container } from './container.ts'
import { enteredProcess } from './enteredProcess.ts'
import { linkVariables } from './links.ts'
import { hostCapabilities } from './privileges.ts'
import { processEnv } from './processEnv.ts'
import { runDirectory } from './state.ts'
import { containerUser } from './userFiles.ts'

/** By container: the process of its current run, which all its execs are made from. */
const processes = new WeakMap<Container, { runs: number; process: SpecProcess }>()

const processOf = (engine: Engine, container: Container): SpecProcess => {
  const { runs } = container.record
  const known = processes.get(container)
  if (known?.runs === runs) return known.process
  const bundle = path.join(runDirectory(engine, container), 'config.json')
  const { process } = JSON.parse(readFileSync(bundle, 'utf8')) as RuntimeSpec
  processes.set(container, { runs, process })
  return process
}

/** The process of an exec: that of its container's bundle, changed as the request says. */
export const execProcess = async (
  engine: Engine,
  container: Container,
  request: ExecCreateRequest,
  size?: [rows: number, columns: number],
): Promise<SpecProcess> => {
  const base = processOf(engine, container)
  await ensureDefaultProfile(base.apparmorProfile)
  const { config, hostConfig, state } = container.record
  const user = containerUser(
    `/proc/${state.pid}/root`,
    request.User || config.User || '',
    hostConfig.GroupAdd ?? [],
  )
  const terminal = request.Tty ?? false
  return {
    ...enteredProcess(base, {
      args: request.Cmd ?? [],
      env: processEnv({
        ...{ config, terminal, home: user.home },
        links: linkVariables(engine, container.record),
        extra: request.Env ?? [],
      }),
      directory: request.WorkingDir ?? '',
      user: request.User ? user : undefined,
      terminal,
      capabilities: request.Privileged ? [...hostCapabilities()] : undefined,
    }),
    ...(terminal && size ? { consoleSize: { height: size[0], width: size[1] } } : {}),
  }
}
