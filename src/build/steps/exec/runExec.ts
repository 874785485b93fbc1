import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { UndoStack } from '../../../core/disposal.ts'
import { BerthError, hasCode, messageOf } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { newId } from '../../../core/ids.ts'
import { stringify } from '../../../core/json.ts'
import { bindSubpaths, dropPlaces, withPlaces } from '../../../engine/containers/boundPlaces.ts'
import { clearProcesses } from '../../../engine/containers/clearRun.ts'
import { composeSpec } from '../../../engine/containers/composeSpec.ts'
import { prepareFiles } from '../../../engine/containers/files.ts'
import { containerGroup, memoryDirectory, monitorDirectories } from '../../../engine/containers/groups.ts'
import { containerDirectory } from '../../../engine/containers/logConfig.ts'
import { bindMappedMounts } from '../../../engine/containers/mappedBinds.ts'
import { namespaceOwner } from '../../../engine/containers/namespaces.ts'
import { runtimeView } from '../../../engine/containers/runtimeView.ts'
import { runtimeOf } from '../../../engine/containers/start.ts'
import type { ContainerRecord } from '../../../engine/containers/types.ts'
import { monitorNamespace } from '../../../engine/containers/userNamespaces.ts'
import { killGroup } from '../../../linux/cgroups.ts'
import { rootOf } from '../../../linux/idMaps.ts'
import { startFailure } from '../../../runtime/errors.ts'
import { launchMonitor } from '../../../runtime/launch.ts'
import type { ExitRecord, MonitorClient, MonitorSpec, MonitorStatus } from '../../../runtime/types.ts'
import type { Tree } from '../../solver/types.ts'
import { FormatErrors } from './foreign.ts'
import { isFolder, mountStack, type Output, type Preparation, prepareMounts } from './mounts.ts'
import { stepOutput } from './output.ts'
import { makePlaces } from './places.ts'
import { stepEnvironment, stepRecord } from './record.ts'
import { type ExecStep, type ExecTools, snapshotTree } from './types.ts'

/** A process of a build, as a container that is in no list: what it leaves of its mounts are its results. */

/** `exitCode`: of the process, or why it could not be begun (126, 127, 128). */
export class StepFailed extends BerthError {
  readonly exitCode: number
  readonly command: string

  /** `hint`: what to do about it. */
  constructor(
    args: readonly string[],
    { exitCode, oomKilled, hint }: Pick<ExitRecord, 'exitCode' | 'oomKilled'> & { hint?: string | undefined },
  ) {
    const code = oomKilled ? 'cannot allocate memory' : `exit code: ${exitCode}`
    const why = hint === undefined ? code : `${code}: ${hint}`
    super(
      'step-failed',
      400,
      `process ${JSON.stringify(args.join(' '))} did not complete successfully: ${why}`,
    )
    this.exitCode = exitCode
    this.command = args.join(' ')
  }
}

const secretVariables = async ({ operation, clients, signal }: ExecStep): Promise<string[]> => {
  const variables: string[] = []
  for (const { id, name, required } of operation.secretEnv) {
    const value = await clients.secret(id, signal)
    if (!value && required) throw new BerthError('not-found', 404, `secret ${id}: not found`)
    if (value) variables.push(`${name}=${Buffer.from(value).toString('utf8')}`)
  }
  return variables
}

/** Its root, its other mounts with places for them, and what of both becomes a result. */
const prepareRoot = async (
  preparation: Preparation,
): Promise<{ rootfs: string; outputs: Output[]; places: Disposable }> => {
  const { tools, step, record, undo } = preparation
  const [first] = step.operation.mounts
  if (first?.kind !== 'bind' || first.target !== '/')
    throw new BerthError('internal', 500, 'a step has no root: its first mount is to be one')
  const { root: rootfs, outputs } = await mountStack(preparation, first)
  const prepared = await prepareMounts(preparation)
  record.mounts = prepared.points
  undo.push('places', () => dropPlaces(tools.engine, record.id))
  bindSubpaths(tools.engine, record.id, record.mounts)
  await bindMappedMounts(tools.engine, record, { rootfs, signal: step.signal })
  const wanted = withPlaces(tools.engine, record)
    .mounts.filter(({ destination }) => !isOfRuntime(destination))
    .map(point => ({ destination: point.destination, isDirectory: isFolder(point) }))
  const places = first.readOnly
    ? { [Symbol.dispose]: () => {} }
    : makePlaces(rootfs, wanted, record.idMaps && rootOf(record.idMaps))
  return { rootfs, outputs: [...outputs, ...prepared.outputs], places }
}

/** In what is mounted there the runtime makes places itself. */
const isOfRuntime = (destination: string): boolean =>
  ['/dev/', '/proc/', '/sys/'].some(folder => destination.startsWith(folder))

const connect = async ({ tools: { engine }, record, undo }: Preparation): Promise<void> => {
  undo.push('network', () => engine.connections.disconnectAll(record))
  const owner = await namespaceOwner(engine, record)
  await engine.connections.connectAll(record, owner)
  undo.push('files', () =>
    rmSync(containerDirectory(engine.settings.dataRoot, record.id), { recursive: true, force: true }),
  )
  prepareFiles(engine, record)
}

const writeBundle = async (
  { tools: { engine }, step, record, directory }: Preparation,
  rootfs: string,
): Promise<MonitorSpec> => {
  const written = containerDirectory(engine.settings.dataRoot, record.id)
  const spec = await composeSpec(engine, withPlaces(engine, record), {
    rootfs,
    files: { hosts: path.join(written, 'hosts'), resolvConf: path.join(written, 'resolv.conf') },
  })
  spec.process.env = stepEnvironment(step.operation, await secretVariables(step))
  writeFileSync(path.join(directory, 'config.json'), stringify(spec), { mode: 0o600 })
  return {
    id: record.id,
    directory,
    runtime: runtimeOf(engine, record),
    task: { kind: 'container', bundle: directory },
    ...monitorNamespace(record),
    terminal: false,
    columns: 0,
    rows: 0,
    openStdin: false,
    stdinOnce: false,
    log: { driver: 'none', path: '', maxSize: 0, maxFile: 1, attrs: '' },
    monitorCgroups: monitorDirectories(engine.settings),
    memoryCgroup: memoryDirectory(containerGroup(engine.settings, record).group),
    view: runtimeView(engine.settings, spec),
    blockOnSlowClient: false,
  }
}

interface Running {
  monitor: MonitorClient
  exited: Promise<ExitRecord>
}

const launch = async (
  { tools: { engine }, record, undo }: Preparation,
  spec: MonitorSpec,
): Promise<Running> => {
  const { promise: exited, resolve, reject } = Promise.withResolvers<ExitRecord>()
  exited.catch(() => {})
  const { group } = containerGroup(engine.settings, record)
  const monitor = await launchMonitor(spec, {
    binary: engine.settings.monitorBinary,
    events: {
      ended: () => killGroup(group),
      exited: resolve,
      closed: () => reject(new BerthError('monitor-lost', 500, 'the monitor of a build step was lost')),
    },
  })
  undo.push('monitor', async () => {
    await monitor.release().catch(() => {})
    monitor.close()
  })
  undo.push('processes', () => clearProcesses(engine, record))
  return { monitor, exited }
}

/** Runs it to its end, or ends it when the signal does. Errors: `StepFailed`, the signal's reason. */
const runToEnd = async (preparation: Preparation, { monitor, exited }: Running): Promise<void> => {
  const { tools, step, record } = preparation
  const { group } = containerGroup(tools.engine.settings, record)
  const format = new FormatErrors(step.platform)
  using output = stepOutput((stream, bytes) => {
    format.hear(stream, bytes)
    step.report.output(stream, bytes)
  })
  await monitor.attach({
    fd: output.fd,
    stdin: false,
    stdout: true,
    stderr: true,
    multiplexed: true,
    pending: Buffer.alloc(0),
    detachKeys: Buffer.alloc(0),
  })
  output.given()
  const end = (): void => killGroup(group)
  step.signal.addEventListener('abort', end, { once: true })
  try {
    step.signal.throwIfAborted()
    const started = await begin(step, monitor)
    failpoint('exec-step.started')
    if (step.signal.aborted) end()
    const exit = started.exit ?? (await exited)
    step.signal.throwIfAborted()
    if (exit.phase === 'failed') refuse(step, exit.error)
    await output.ended
    if (exit.exitCode !== 0) throw new StepFailed(step.operation.args, { ...exit, hint: format.hint })
  } finally {
    step.signal.removeEventListener('abort', end)
  }
}

/** Errors: `StepFailed` where the runtime refused at once. */
const begin = async (step: ExecStep, monitor: MonitorClient): Promise<MonitorStatus> => {
  try {
    return await monitor.start()
  } catch (error) {
    if (hasCode(error, 'monitor-refused')) return refuse(step, messageOf(error))
    throw error
  }
}

/** Told as a process's own words would be. */
const refuse = ({ operation, platform, report }: ExecStep, text: string): never => {
  const { message, exitCode } = startFailure(text, operation.args[0] ?? '')
  report.output('stderr', Buffer.from(`${message}\n`))
  const format = new FormatErrors(platform)
  format.hear('stderr', Buffer.from(message))
  throw new StepFailed(operation.args, { exitCode, oomKilled: false, hint: format.hint })
}

const keep = async ({ below, pending }: Output): Promise<Tree> => {
  if (!pending) return { layers: below }
  await pending.commit()
  return snapshotTree(below, pending.id)
}

/**
 * Does an exec operation; its results in their order. What was made for it is
 * gone when this settles, and of results all or none are there. Errors:
 * `StepFailed`, `not-found` for secrets and agents, the signal's reason.
 */
export const runExec = async (tools: ExecTools, step: ExecStep): Promise<Tree[]> => {
  const { engine } = tools
  const id = newId()
  await using undo = new UndoStack((name, error) =>
    engine.log.error(`clearing a build step: ${name}`, { step: id, error: messageOf(error) }),
  )
  const record: ContainerRecord = stepRecord(engine, step.operation, {
    id,
    readOnly: step.operation.mounts[0]?.readOnly ?? false,
    args: [...(step.emulator ? [step.emulator] : []), ...step.operation.args],
    limits: step.limits,
    warn: text => step.report.warning(text),
  })
  const folder = path.join(engine.settings.execRoot, 'containers', id)
  const directory = path.join(folder, '1')
  mkdirSync(directory, { recursive: true, mode: 0o711 })
  undo.push('run directory', () => rmSync(folder, { recursive: true, force: true }))
  const preparation: Preparation = { tools, step, record, directory, undo }
  const { rootfs, outputs, places } = await prepareRoot(preparation)
  failpoint('exec-step.mounted')
  await using running = new UndoStack((name, error) =>
    engine.log.error(`clearing a build step: ${name}`, { step: id, error: messageOf(error) }),
  )
  const started = { ...preparation, undo: running }
  try {
    await connect(started)
    failpoint('exec-step.connected')
    const spec = await writeBundle(started, rootfs)
    await runToEnd(started, await launch(started, spec))
  } finally {
    // Nothing may run any more when its root is looked at.
    await running.unwind()
    places[Symbol.dispose]()
  }
  failpoint('exec-step.ended')
  const trees: Tree[] = []
  for (const output of outputs.toSorted((a, b) => a.index - b.index)) trees.push(await keep(output))
  return trees
}
