import { checkUnset } from '../../dockerfile/checks/values.ts'
import { expandShown } from '../../dockerfile/expand/expand.ts'
import { expandMounts } from '../../dockerfile/expandInstruction.ts'
import { chomped } from '../../dockerfile/heredoc.ts'
import { type Instruction, type Lookup, type RunMount, scriptFolder } from '../../dockerfile/types.ts'
import { InputList } from '../../graph/draft.ts'
import type { ExecOperation } from '../../graph/types.ts'
import { addHistory } from '../history.ts'
import { type Command, lookupOf, type PlannedStage, type Planning } from '../stage.ts'
import { platformOf } from '../stages.ts'
import { nextStepName, placeOf, withCapitals } from '../step.ts'
import { type Mounted, mountsOf } from './mounts.ts'
import { argsOf } from './shell.ts'

type RunInstruction = Extract<Instruction, { name: 'RUN' }>

const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY']

/** Proxies of the build's arguments, whatever letters they have there; programs look for both. */
const proxyOf = (given: Readonly<Record<string, string>>): Record<string, string> => {
  const found: Record<string, string> = {}
  for (const key of Object.keys(given).sort()) {
    const name = key.toUpperCase()
    const value = given[key]
    if (!proxies.includes(name) || !value) continue
    found[name] = value
    found[name.toLowerCase()] = value
  }
  return found
}

/** The first line of a script. */
const summary = (script: string): string => {
  const [first = '', ...more] = script.trim().split(/\r?\n/)
  return more.length > 0 ? `${first}...` : first
}

/** A script that is all of the command is told of by its first line. */
const sourceOf = ({ command, source }: RunInstruction): string => {
  if (command.form !== 'shell') return source
  const [first] = command.heredocs
  if (!first) return source
  const content = first.chomp ? chomped(first.content) : first.content
  const isScript = command.file !== undefined || command.script === content
  return isScript ? `${source} (${summary(first.content)})` : source
}

/** The command with its values, and secrets as stars. */
const shown = (
  { escape: escapeChar }: Planning,
  run: RunInstruction,
  { lookup, mounts }: { lookup: Lookup; mounts: RunMount[] },
): string => {
  const secret = new Set(mounts.flatMap(({ type, env }) => (type === 'secret' && env ? [env] : [])))
  const masked: Lookup = name => (secret.has(name) ? '****' : lookup(name))
  const source = sourceOf(run)
  try {
    return withCapitals(expandShown(source, masked, escapeChar))
  } catch {
    return withCapitals(source)
  }
}

/** `|1 NAME=value /bin/sh -c make`: arguments are told of with the command, as they may change what it does. */
const historyText = ({ declared, env }: PlannedStage, args: string[]): string => {
  const values = [...declared].map(([name, value]) => `${name}=${env.get(name) ?? value ?? ''}`)
  const count = values.length > 0 ? [`|${values.length}`] : []
  return `RUN ${[...count, ...values, ...args].join(' ')}`
}

const filesOf = ({ command }: RunInstruction): ExecOperation['files'] => {
  if (command.form !== 'shell' || !command.file) return []
  const { name, content } = command.file
  return [{ path: `${scriptFolder}/${name}`, content, mode: 0o755 }]
}

const networkOf = ({ network }: RunInstruction, { request }: Planning): ExecOperation['network'] =>
  network?.value === 'none' || network?.value === 'host' ? network.value : request.network

const envOf = ({ env }: PlannedStage, { agent }: Mounted): string[] => {
  const variables = [...env].map(([name, value]) => `${name}=${value}`)
  return agent === undefined || env.has('SSH_AUTH_SOCK')
    ? variables
    : [...variables, `SSH_AUTH_SOCK=${agent}`]
}

const operationOf = (
  planning: Planning,
  stage: PlannedStage,
  {
    run,
    args,
    mounted,
    root,
  }: { run: RunInstruction; args: string[]; mounted: Mounted; root: number | undefined },
): ExecOperation => {
  const { request, given } = planning
  const { extraHosts, ulimits, cgroupParent, shmSize } = request
  const hostname = given['BUILDKIT_SANDBOX_HOSTNAME'] || request.hostname
  return {
    kind: 'exec',
    args,
    env: envOf(stage, mounted),
    directory: stage.directory,
    user: stage.user,
    network: networkOf(run, planning),
    security: run.security?.value === 'insecure' ? 'insecure' : 'sandbox',
    mounts: [
      { kind: 'bind', target: '/', readOnly: false, input: root, source: '/', output: 0 },
      ...mounted.mounts,
    ],
    secretEnv: mounted.secretEnv,
    devices: [...request.devices, ...run.devices.map(({ name, required }) => ({ name, required }))],
    extraHosts,
    ulimits,
    proxy: proxyOf(given),
    files: filesOf(run),
    ...(hostname ? { hostname } : {}),
    ...(cgroupParent ? { cgroupParent } : {}),
    ...(shmSize ? { shmSize } : {}),
  }
}

/** RUN: a process on the files so far; what it leaves of them is the stage then. */
export const planRun = (
  planning: Planning,
  stage: PlannedStage,
  { command, run }: { command: Command; run: RunInstruction },
): void => {
  const lookup = lookupOf(stage)
  const { mounts, unset } = expandMounts(run, lookup, planning.escape)
  const [known, declared] = [stage.env.keys(), stage.declared.keys()]
  checkUnset(planning.checker, run, { unset, known, declared })
  // It may read any file.
  stage.usedPaths.add('/')
  const inputs = new InputList()
  const root = inputs.add(stage.fileSystem)
  const mounted = mountsOf({ planning, stage, inputs }, run, { mounts, sources: command.sources })
  const args = argsOf(stage, run.command)
  const text = historyText(stage, args)
  const name = shown(planning, run, { lookup, mounts })
  stage.fileSystem = {
    operation: operationOf(planning, stage, { run, args, mounted, root }),
    inputs: inputs.drafts,
    platform: platformOf(planning, stage),
    step: {
      name: nextStepName(planning, stage, name, { env: lookup, isTrigger: command.isTrigger }),
      source: placeOf(planning, run.range),
      described: text,
      ...(stage.ignoreCache ? { ignoreCache: true } : {}),
    },
  }
  addHistory(planning, stage, text, { hasLayer: true, isBuilt: true })
}
