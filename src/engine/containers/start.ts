import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { UndoStack } from '../../core/disposal.ts'
import { asBerthError, BerthError, conflict, hasCode, internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { stringify } from '../../core/json.ts'
import { killGroup } from '../../linux/cgroups.ts'
import { removeTree } from '../../linux/removeTree.ts'
import type { RuntimeSpec } from '../../oci/runtimeSpec.ts'
import { StartError, startFailure } from '../../runtime/errors.ts'
import { launchMonitor } from '../../runtime/launch.ts'
import type { MonitorClient, MonitorSpec, RuntimeBinary } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { dropPending, handOver } from './attach.ts'
import { checkPropagation } from './bindPropagation.ts'
import { prepareBindSources } from './bindSources.ts'
import { criuFolder, lastWords, withCriuAdvice } from './checkpointFailure.ts'
import { clearProcesses, disconnect } from './clearRun.ts'
import { composeSpec } from './composeSpec.ts'
import type { Container } from './container.ts'
import { commandOf } from './describe.ts'
import { noteBegun, noteEnding, noteFailedStart } from './ends.ts'
import { prepareFiles } from './files.ts'
import { killRuntimeOnAbort } from './giveUpStart.ts'
import { containerGroup, memoryDirectory, monitorDirectories } from './groups.ts'
import { startHealth } from './health.ts'
import { checkLinks } from './links.ts'
import { containerDirectory, logSettings } from './logConfig.ts'
import { bindMappedMounts } from './mappedBinds.ts'
import { namespaceOwner, takePartnersName } from './namespaces.ts'
import { openLinks, tellLinking } from './openLinks.ts'
import { relabelMounts } from './relabel.ts'
import { outlivesBoot } from './restartPolicy.ts'
import { runtimeView } from './runtimeView.ts'
import { releaseVolumes, takeVolumes, withBoundVolumes } from './runVolumes.ts'
import { rootOptions } from './selinuxLabels.ts'
import { mountSharedShm, unmountSharedShm } from './sharedMemory.ts'
import { noteStarted, runDirectory } from './state.ts'
import type { ContainerRecord } from './types.ts'
import { monitorNamespace } from './userNamespaces.ts'
import { handOverWaiters } from './wait.ts'

/** Errors: `no-runtime`. */
export const runtimeOf = (engine: Engine, { hostConfig }: ContainerRecord): RuntimeBinary => {
  const name = hostConfig.Runtime ?? engine.settings.defaultRuntime
  const runtime = engine.settings.runtimes.get(name)
  if (!runtime) throw new BerthError('no-runtime', 400, `unknown or invalid runtime name: ${name}`)
  return runtime
}

/**
 * Everything the runtime needs on disk: config.json in the run directory. What
 * lies in exec-root is memory: a call of its own is quicker than a thread's.
 */
const writeBundle = async (engine: Engine, container: Container, rootfs: string): Promise<RuntimeSpec> => {
  const spec = await composeSpec(engine, withBoundVolumes(engine, container.record), { rootfs })
  writeFileSync(path.join(runDirectory(engine, container), 'config.json'), stringify(spec))
  return spec
}

const monitorSpec = (
  engine: Engine,
  container: Container,
  { spec, checkpoint = '' }: { spec: RuntimeSpec; checkpoint?: string | undefined },
): MonitorSpec => {
  const { record } = container
  const [rows = 0, columns = 0] = record.hostConfig.ConsoleSize ?? []
  const directory = runDirectory(engine, container)
  return {
    id: record.id,
    directory,
    runtime: runtimeOf(engine, record),
    task: { kind: 'container', bundle: directory, checkpoint },
    ...monitorNamespace(record),
    terminal: record.config.Tty ?? false,
    columns,
    rows,
    openStdin: record.config.OpenStdin ?? false,
    stdinOnce: record.config.StdinOnce ?? false,
    log: logSettings(engine.settings, record),
    monitorCgroups: monitorDirectories(engine.settings),
    memoryCgroup: memoryDirectory(containerGroup(engine.settings, record).group),
    view: runtimeView(engine.settings, spec),
    blockOnSlowClient: false,
  }
}

/** Clients that came before the start get their streams before the first byte is written. */
const handOverClients = async (engine: Engine, container: Container): Promise<void> => {
  for (const pending of container.attaching.splice(0)) {
    try {
      await handOver(container, pending)
    } catch (error) {
      engine.log.warn('an attached client could not be handed over', {
        container: container.id,
        error: messageOf(error),
      })
      pending.client.end()
    }
  }
  await handOverWaiters(engine, container)
}

/** With the folder of the container's runs, unless an end in there is yet to be recorded. */
const removeRunDirectory = (directory: string): void => {
  removeTree(directory)
  const folder = path.dirname(directory)
  if (readdirSync(folder).length === 0) rmdirSync(folder)
}

interface Run {
  operation: Operation
  /** The folder of the checkpoint that it goes on from; absent for a new process. */
  checkpoint?: string | undefined
}

/** Steps of a start, each with its undo; on failure everything made for it is taken away. */
const prepare = async (
  engine: Engine,
  container: Container,
  { undo, operation, checkpoint }: Run & { undo: UndoStack },
): Promise<MonitorClient> => {
  const { record } = container
  await takePartnersName(engine, record)
  checkLinks(engine, record)
  operation.at('looking at the sources of its mounts')
  await prepareBindSources(engine, record, { operation, certain: false })
  await checkPropagation(record.mounts)
  operation.at('taking its volumes')
  undo.push('volumes', () => releaseVolumes(engine, container))
  await takeVolumes(engine, container, operation)
  await relabelMounts(engine.pool, record, operation.signal)
  failpoint('start.volumes')
  operation.at('mounting its file system')
  mkdirSync(containerDirectory(engine.settings.dataRoot, record.id), { recursive: true, mode: 0o710 })
  undo.push('unmount', () => engine.uppers.unmount(container.id))
  const volatile = record.hostConfig.AutoRemove ?? false
  const rootfs = await engine.uppers.mount(container.id, { volatile, ...rootOptions(record) })
  failpoint('start.mounted')
  await bindMappedMounts(engine, record, { rootfs, signal: operation.signal })
  operation.at('connecting its networks')
  undo.push('network', () => disconnect(engine, container))
  const owner = await namespaceOwner(engine, record)
  await engine.metrics.timeNetwork('allocate', engine.connections.connectAll(record, owner))
  failpoint('start.connected')
  openLinks(engine, container)
  tellLinking(engine, container)
  prepareFiles(engine, record)
  undo.push('shared memory', () => unmountSharedShm(engine, record.id))
  mountSharedShm(engine, record)
  record.runs += 1
  await engine.containers.save(container)
  failpoint('start.saved')
  const directory = runDirectory(engine, container)
  undo.push('run directory', () => removeRunDirectory(directory))
  mkdirSync(checkpoint ? path.join(directory, criuFolder) : directory, { recursive: true, mode: 0o710 })
  const spec = await writeBundle(engine, container, rootfs)
  operation.at('starting its monitor')
  failpoint('start.bundle')
  const monitor = await launchMonitor(monitorSpec(engine, container, { spec, checkpoint }), {
    binary: engine.settings.monitorBinary,
    events: engine.supervise(container),
  })
  undo.push('monitor', async () => {
    container.monitor = undefined
    await monitor.release()
    monitor.close()
  })
  undo.push('processes', () => clearProcesses(engine, container.record))
  container.monitor = monitor
  failpoint('start.monitor')
  await handOverClients(engine, container)
  failpoint('start.handed')
  return monitor
}

const runtimeStart = async (
  engine: Engine,
  container: Container,
  { monitor, operation, checkpoint }: Run & { monitor: MonitorClient },
): Promise<void> => {
  operation.at('waiting for the OCI runtime')
  using _killing = killRuntimeOnAbort(operation.signal, monitor)
  const refused = (words: string): never =>
    checkpoint ? refuseRestore(engine, container, { checkpoint, words }) : refuse(container, words)
  try {
    const status = await monitor.start()
    // It may have ended already: what counts is where things stand now.
    if (monitor.status.phase === 'running') noteStarted(engine, container, monitor.status)
    if (status.phase !== 'failed') return
    refused(status.exit?.error ?? '')
  } catch (error) {
    if (hasCode(error, 'monitor-refused')) refused(messageOf(error))
    throw error
  }
}

const refuse = (container: Container, text: string): never => {
  throw new StartError(startFailure(text, commandOf(container.record)[0]))
}

const refuseRestore = (
  engine: Engine,
  container: Container,
  { checkpoint, words }: { checkpoint: string; words: string },
): never => {
  const why = lastWords(path.join(runDirectory(engine, container), criuFolder), words)
  throw internal(
    `cannot restore container ${container.record.name} from checkpoint ${path.basename(checkpoint)}: ${withCriuAdvice(runtimeOf(engine, container.record), why)}`,
  )
}

/** How a start failed is the container's state from now on; what the run before ended with stays until then, whenever the daemon dies. */
const noteFailure = async (engine: Engine, container: Container, error: unknown): Promise<void> => {
  const { state } = container.record
  state.error = asBerthError(error).message
  state.exitCode = error instanceof StartError ? error.exitCode : 128
  noteFailedStart(container, { exitCode: state.exitCode, detail: state.error })
  await engine.containers.save(container).catch(() => {})
}

/** It was cancelled just when the runtime had done its work: its end is a run's, like any other. */
const endAtOnce = (engine: Engine, container: Container, operation: Operation): never => {
  container.record.state.stoppedByCall = true
  const detail = messageOf(operation.signal.reason)
  noteEnding(container, { cause: 'killed-by-call', verb: 'kill', signal: 9, detail })
  killGroup(containerGroup(engine.settings, container.record).group)
  throw operation.signal.reason
}

const startNow = async (engine: Engine, container: Container, run: Run): Promise<void> => {
  const { operation } = run
  await using undo = new UndoStack((step, error) =>
    engine.log.error(`undo of start: ${step}`, { container: container.id, error: messageOf(error) }),
  )
  undo.push('clients', () => dropPending(container))
  undo.push('starting', () => {
    container.starting = undefined
  })
  container.starting = operation
  noteBegun(container, operation)
  try {
    const monitor = await prepare(engine, container, { ...run, undo })
    await runtimeStart(engine, container, { ...run, monitor })
    failpoint('start.started')
    undo.commit()
    container.starting = undefined
  } catch (thrown) {
    const error = operation.signal.aborted ? operation.signal.reason : thrown
    await noteFailure(engine, container, error)
    throw error
  }
  // What runs is found by its monitor, so nobody needs to wait for the record, or be told that it could not be written.
  const durable = outlivesBoot(container)
  const recorded = engine.containers.save(container, { durable }).catch(error => {
    engine.log.error('a started container could not be recorded', {
      container: container.id,
      error: messageOf(error),
    })
  })
  if (durable) await recorded
  failpoint('start.recorded')
  if (operation.signal.aborted) endAtOnce(engine, container, operation)
  if (container.isRunning) startHealth(engine, container)
}

/**
 * Starts a container whose queue the caller holds, anew or from the folder of a
 * checkpoint. Returns false where it runs already.
 */
export const startInQueue = async (
  engine: Engine,
  container: Container,
  operation: Operation,
  checkpoint?: string,
): Promise<boolean> => {
  if (engine.stopping) throw new BerthError('stopping', 503, 'the daemon is shutting down')
  // This start may have been asked for before the end of the last run was seen.
  await container.finishRun()
  if (container.removing) throw conflict(`container is marked for removal and cannot be started`)
  if (container.record.state.status === 'paused')
    throw conflict('cannot start a paused container, try unpause instead')
  if (container.isRunning) return false
  clearTimeout(container.restartTimer)
  container.restartTimer = undefined
  try {
    await startNow(engine, container, { operation, checkpoint })
  } finally {
    container.startSettled()
  }
  return true
}
