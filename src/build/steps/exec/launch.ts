import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { UndoStack } from '../../../core/disposal.ts'
import { BerthError } from '../../../core/errors.ts'
import { stringify } from '../../../core/json.ts'
import { withPlaces } from '../../../engine/containers/boundPlaces.ts'
import { clearProcesses } from '../../../engine/containers/clearRun.ts'
import { composeSpec } from '../../../engine/containers/composeSpec.ts'
import { prepareFiles } from '../../../engine/containers/files.ts'
import { containerGroup, memoryDirectory, monitorDirectories } from '../../../engine/containers/groups.ts'
import { containerDirectory } from '../../../engine/containers/logConfig.ts'
import { namespaceOwner } from '../../../engine/containers/namespaces.ts'
import { runtimeView } from '../../../engine/containers/runtimeView.ts'
import { runtimeOf } from '../../../engine/containers/start.ts'
import type { ContainerRecord } from '../../../engine/containers/types.ts'
import { monitorNamespace } from '../../../engine/containers/userNamespaces.ts'
import type { Engine } from '../../../engine/engine.ts'
import { killGroup } from '../../../linux/cgroups.ts'
import { removeTree } from '../../../linux/removeTree.ts'
import type { SpecProcess } from '../../../oci/runtimeSpec.ts'
import { launchMonitor } from '../../../runtime/launch.ts'
import type { ExitRecord, MonitorClient, MonitorSpec } from '../../../runtime/types.ts'
import type { Preparation } from './mounts.ts'
import { stepEnvironment } from './record.ts'
import type { ExecStep } from './types.ts'

/** How what is prepared is run: in what network, by what specification, under which monitor. */

/** Where its bundle and its monitor's files are, on memory; a start of the daemon sweeps what is there. */
export const makeRunDirectory = ({ settings }: Engine, id: string, undo: UndoStack): string => {
  const folder = path.join(settings.execRoot, 'containers', id)
  const directory = path.join(folder, '1')
  mkdirSync(directory, { recursive: true, mode: 0o711 })
  undo.push('run directory', () => removeTree(folder))
  return directory
}

/** Errors: `not-found` for secrets. */
const secretVariables = async ({ operation, clients, signal }: ExecStep): Promise<string[]> => {
  const variables: string[] = []
  for (const { id, name, required } of operation.secretEnv) {
    const value = await clients.secret(id, signal)
    if (!value && required) throw new BerthError('not-found', 404, `secret ${id}: not found`)
    if (value) variables.push(`${name}=${Buffer.from(value).toString('utf8')}`)
  }
  return variables
}

/** Errors: `not-found` for secrets. */
export const environmentOf = async (step: ExecStep): Promise<string[]> =>
  stepEnvironment(step.operation, await secretVariables(step))

export const connect = async ({ tools: { engine }, record, undo }: Preparation): Promise<void> => {
  undo.push('network', () => engine.connections.disconnectAll(record))
  const owner = await namespaceOwner(engine, record)
  await engine.connections.connectAll(record, owner)
  undo.push('files', () => removeTree(containerDirectory(engine.settings.dataRoot, record.id)))
  prepareFiles(engine, record)
}

/** What a process has of a client's. */
export interface ProcessStreams {
  terminal: boolean
  /** It can be written to; else it is at its end from the first. */
  stdin: boolean
}

/** What all monitors of steps are told. */
export const monitorBasics = (
  engine: Engine,
  record: ContainerRecord,
  { terminal, stdin }: ProcessStreams,
): Omit<MonitorSpec, 'id' | 'directory' | 'task'> => ({
  runtime: runtimeOf(engine, record),
  ...monitorNamespace(record),
  terminal,
  columns: 0,
  rows: 0,
  openStdin: stdin,
  stdinOnce: stdin,
  log: { driver: 'none', path: '', maxSize: 0, maxFile: 1, attrs: '' },
  monitorCgroups: monitorDirectories(engine.settings),
  memoryCgroup: '',
  blockOnSlowClient: false,
})

export interface Bundle {
  spec: MonitorSpec
  /** As the specification has it. */
  process: SpecProcess
}

export const writeBundle = async (
  { tools: { engine }, step, record, directory }: Preparation,
  rootfs: string,
  streams: ProcessStreams = { terminal: false, stdin: false },
): Promise<Bundle> => {
  const written = containerDirectory(engine.settings.dataRoot, record.id)
  const spec = await composeSpec(engine, withPlaces(engine, record), {
    rootfs,
    files: { hosts: path.join(written, 'hosts'), resolvConf: path.join(written, 'resolv.conf') },
  })
  spec.process.env = await environmentOf(step)
  spec.process.terminal = streams.terminal
  writeFileSync(path.join(directory, 'config.json'), stringify(spec), { mode: 0o600 })
  return {
    process: spec.process,
    spec: {
      id: record.id,
      directory,
      task: { kind: 'container', bundle: directory },
      ...monitorBasics(engine, record, streams),
      memoryCgroup: memoryDirectory(containerGroup(engine.settings, record).group),
      view: runtimeView(engine.settings, spec),
    },
  }
}

export interface Running {
  monitor: MonitorClient
  /** Errors: `monitor-lost`. */
  exited: Promise<ExitRecord>
}

/** A monitor by which nothing runs yet. `ended`: the process is gone, its output is not yet read. */
export const launchProcess = async (
  engine: Engine,
  spec: MonitorSpec,
  { ended, parent }: { ended?: () => void; parent?: MonitorClient } = {},
): Promise<Running> => {
  const { promise: exited, resolve, reject } = Promise.withResolvers<ExitRecord>()
  exited.catch(() => {})
  const monitor = await launchMonitor(spec, {
    binary: engine.settings.monitorBinary,
    parent,
    events: {
      ...(ended ? { ended } : {}),
      exited: resolve,
      closed: () => reject(new BerthError('monitor-lost', 500, 'the monitor of a build step was lost')),
    },
  })
  return { monitor, exited }
}

export const letGo = async (monitor: MonitorClient): Promise<void> => {
  await monitor.release().catch(() => {})
  monitor.close()
}

/** Of the first process, with which all others end. */
export const launch = async (
  { tools: { engine }, record, undo }: Preparation,
  spec: MonitorSpec,
): Promise<Running> => {
  const { group } = containerGroup(engine.settings, record)
  const running = await launchProcess(engine, spec, { ended: () => killGroup(group) })
  undo.push('monitor', () => letGo(running.monitor))
  undo.push('processes', () => clearProcesses(engine, record))
  return running
}
