import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { UndoStack } from '../../../core/disposal.ts'
import { BerthError, conflict, messageOf } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { newId } from '../../../core/ids.ts'
import { stringify } from '../../../core/json.ts'
import { ensureDefaultProfile } from '../../../engine/containers/appArmor.ts'
import { enteredProcess } from '../../../engine/containers/enteredProcess.ts'
import { containerGroup } from '../../../engine/containers/groups.ts'
import { hostCapabilities } from '../../../engine/containers/privileges.ts'
import { containerUser } from '../../../engine/containers/userFiles.ts'
import type { Engine } from '../../../engine/engine.ts'
import { killGroup } from '../../../linux/cgroups.ts'
import { insideOf } from '../../../linux/idMaps.ts'
import { removeTree } from '../../../linux/removeTree.ts'
import type { SpecProcess } from '../../../oci/runtimeSpec.ts'
import type { MonitorClient } from '../../../runtime/types.ts'
import { checkEntitled } from '../../entitlements.ts'
import type { ExecOperation } from '../../graph/types.ts'
import { lookAt } from './containerFiles.ts'
import { type ContainerProcess, startProcess } from './containerProcess.ts'
import { type ContainerRequest, operationOf, type ProcessRequest, withProcess } from './containerRequest.ts'
import {
  connect,
  environmentOf,
  launch,
  launchProcess,
  letGo,
  makeRunDirectory,
  monitorBasics,
  writeBundle,
} from './launch.ts'
import type { Preparation } from './mounts.ts'
import { stepRecord } from './record.ts'
import { prepareRoot } from './root.ts'
import type { ExecStep, ExecTools } from './types.ts'

/**
 * A container in what a build made, for who leads it to look around in. Its mounts are there from the first; what
 * runs first is what the others run beside and end with. What is written is thrown away.
 */

interface First {
  process: ContainerProcess
  monitor: MonitorClient
  /** What others are made from. */
  base: SpecProcess
}

interface Prepared {
  preparation: Preparation
  request: ContainerRequest
  rootfs: string
  /** Ends it. */
  end: AbortController
}

const undoOf = (engine: Engine, id: string): UndoStack =>
  new UndoStack((name, error) =>
    engine.log.error(`clearing a container of a build: ${name}`, { container: id, error: messageOf(error) }),
  )

export class StepContainer implements AsyncDisposable {
  readonly #preparation: Preparation
  readonly #request: ContainerRequest
  readonly #rootfs: string
  readonly #end: AbortController
  readonly #running: UndoStack
  readonly #starting = new Set<Promise<ContainerProcess>>()
  readonly #entered = new Map<ContainerProcess, Promise<void>>()
  readonly #gone = Promise.withResolvers<void>()
  #first: Promise<First> | undefined
  #isReleased = false

  constructor({ preparation, request, rootfs, end }: Prepared) {
    this.#preparation = preparation
    this.#request = request
    this.#rootfs = rootfs
    this.#end = end
    this.#running = undoOf(preparation.tools.engine, preparation.record.id)
    preparation.step.signal.addEventListener('abort', () => this.#kill(), { once: true })
  }

  get #signal(): AbortSignal {
    return this.#preparation.step.signal
  }

  get #stopped(): BerthError {
    return conflict(`container ${this.#request.id} has stopped`)
  }

  #kill(): void {
    const { tools, record } = this.#preparation
    killGroup(containerGroup(tools.engine.settings, record).group)
  }

  /**
   * Begins a process. Errors: `ProcessRefused`, `conflict` where the first one has ended, `bad-request` for what
   * is not granted and unknown users, `not-found` for secrets.
   */
  async start(process: ProcessRequest): Promise<ContainerProcess> {
    const starting = this.#start(process)
    this.#starting.add(starting)
    try {
      return await starting
    } finally {
      this.#starting.delete(starting)
    }
  }

  async #start(process: ProcessRequest): Promise<ContainerProcess> {
    this.#signal.throwIfAborted()
    const operation = withProcess(this.#preparation.step.operation, process)
    checkEntitled(operation, this.#request.granted)
    if (this.#first) return await this.#enter(process, operation)
    this.#first = this.#begin(process, operation)
    return (await this.#first).process
  }

  async #begin(request: ProcessRequest, operation: ExecOperation): Promise<First> {
    const begun = this.#beginning(operation)
    const { tools, record } = begun
    try {
      await connect(begun)
      failpoint('build-container.connected')
      const { spec, process: base } = await writeBundle(begun, this.#rootfs, request.streams)
      const running = await launch(begun, spec)
      const process = await startProcess(running, {
        streams: request.streams,
        program: request.args[0] ?? '',
        kill: () => killGroup(containerGroup(tools.engine.settings, record).group),
      })
      failpoint('build-container.started')
      if (this.#signal.aborted) this.#kill()
      return { process, monitor: running.monitor, base }
    } catch (error) {
      await this.#running.unwind()
      throw error
    }
  }

  /** Whether it is privileged is known only now; its mounts are what they are. */
  #beginning(operation: ExecOperation): Preparation {
    const preparation = this.#preparation
    const { tools, step, record } = preparation
    const fresh = stepRecord(tools.engine, operation, {
      id: record.id,
      readOnly: record.hostConfig.ReadonlyRootfs ?? false,
      args: operation.args,
      limits: step.limits,
      warn: () => {},
    })
    return {
      ...preparation,
      step: { ...step, operation },
      record: {
        ...fresh,
        mounts: record.mounts,
        // The label that its files have.
        ...(operation.security === 'sandbox' && record.selinux ? { selinux: record.selinux } : {}),
      },
      undo: this.#running,
    }
  }

  async #enter(request: ProcessRequest, operation: ExecOperation): Promise<ContainerProcess> {
    const first = await this.#first?.catch(() => undefined)
    if (!first || first.process.isOver) throw this.#stopped
    const { engine } = this.#preparation.tools
    const id = newId()
    const undo = undoOf(engine, id)
    try {
      // Among those of other containers: a start of the daemon sweeps what no record owns.
      const directory = path.join(engine.settings.execRoot, 'execs', id)
      mkdirSync(directory, { recursive: true, mode: 0o710 })
      undo.push('exec directory', () => removeTree(directory))
      const processFile = path.join(directory, 'process.json')
      const written = await this.#enteredProcess(first, request, operation)
      writeFileSync(processFile, stringify(written), { mode: 0o600 })
      const { record } = this.#preparation
      const spec = {
        ...monitorBasics(engine, record, request.streams),
        ...{ id, directory, task: { kind: 'exec' as const, containerId: record.id, processFile } },
        ...(first.monitor.canFork ? { monitorCgroups: [] } : {}),
      }
      const running = await launchProcess(engine, spec, { parent: first.monitor })
      undo.push('monitor', () => letGo(running.monitor))
      const process: ContainerProcess = await startProcess(running, {
        streams: request.streams,
        program: request.args[0] ?? '',
        kill: () => process.signal(9),
      })
      failpoint('build-container.entered')
      if (this.#signal.aborted) this.#kill()
      this.#clearAfter(process, undo)
      return process
    } catch (error) {
      await undo.unwind()
      throw first.process.isOver ? this.#stopped : error
    }
  }

  #clearAfter(process: ContainerProcess, undo: UndoStack): void {
    const cleared = process.ended.then(async () => {
      await undo.unwind()
      this.#entered.delete(process)
    })
    this.#entered.set(process, cleared)
  }

  async #enteredProcess(
    { base }: First,
    { args, directory, user, streams, security }: ProcessRequest,
    operation: ExecOperation,
  ): Promise<SpecProcess> {
    await ensureDefaultProfile(base.apparmorProfile)
    return enteredProcess(base, {
      args,
      directory,
      env: await environmentOf({ ...this.#preparation.step, operation }),
      terminal: streams.terminal,
      user: user === '' ? undefined : containerUser(this.#rootfs, user, []),
      capabilities: security === 'insecure' ? [...hostCapabilities()] : undefined,
    })
  }

  /** Where a mount is seen as it is now, by its number among those of the request. Errors: `bad-request`, `not-found`. */
  async look<T>(index: number, work: (root: string) => T | Promise<T>): Promise<T> {
    this.#signal.throwIfAborted()
    const { tools, record } = this.#preparation
    const first = await this.#first?.catch(() => undefined)
    return await lookAt(
      {
        ...{ engine: tools.engine, record, rootfs: this.#rootfs, mounts: this.#request.mounts },
        pid: first?.process.pid ?? 0,
      },
      index,
      work,
    )
  }

  /** An owner as `look` shows it, by the numbers that the processes know. */
  ownerInside({ uid, gid }: { uid: number; gid: number }): { uid: number; gid: number } {
    const { idMaps } = this.#preparation.record
    return idMaps ? { uid: insideOf(idMaps.uids, uid), gid: insideOf(idMaps.gids, gid) } : { uid, gid }
  }

  /** Nothing of it is left. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isReleased) {
      this.#isReleased = true
      this.#dispose().then(this.#gone.resolve, this.#gone.reject)
    }
    await this.#gone.promise
  }

  async #dispose(): Promise<void> {
    this.#end.abort(new BerthError('cancelled', 499, `container ${this.#request.id} was released`))
    await Promise.allSettled(this.#starting)
    const first = await this.#first?.catch(() => undefined)
    first?.process.abandon()
    for (const process of this.#entered.keys()) process.abandon()
    this.#kill()
    // A monitor that is let go before it has told of the end would stay for somebody to hear it.
    await Promise.all([first?.process.ended, ...this.#entered.values()])
    await this.#running.unwind()
    failpoint('build-container.ended')
    await this.#preparation.undo.unwind()
  }
}

export interface ContainerHost extends Pick<ExecStep, 'clients' | 'limits'> {
  /** The build's: its end ends what runs. */
  signal: AbortSignal
  /** Whose abort gives it up while it is prepared. */
  asking: AbortSignal
}

/** Mounts what a container has. Errors: `bad-request`, `not-found`, those of mounting, the signals' reasons. */
export const prepareContainer = async (
  tools: ExecTools,
  request: ContainerRequest,
  { clients, limits, signal, asking }: ContainerHost,
): Promise<StepContainer> => {
  const { engine } = tools
  const operation = operationOf(request)
  checkEntitled(operation, request.granted)
  const id = newId()
  const end = new AbortController()
  const record = stepRecord(engine, operation, {
    ...{ id, limits, args: [], warn: () => {} },
    readOnly: request.mounts.some(({ target, readOnly }) => target === '/' && readOnly),
  })
  const giveUp = (): void => end.abort(asking.reason)
  asking.addEventListener('abort', giveUp, { once: true })
  const undo = undoOf(engine, id)
  try {
    asking.throwIfAborted()
    const step: ExecStep = {
      ...{ operation, clients, limits, platform: request.platform, inputs: request.inputs },
      report: { output: () => {}, status: () => {}, warning: () => {} },
      signal: AbortSignal.any([signal, end.signal]),
    }
    const directory = makeRunDirectory(engine, id, undo)
    const preparation: Preparation = { tools, step, record, directory, undo }
    const { rootfs } = await prepareRoot(preparation)
    failpoint('build-container.mounted')
    step.signal.throwIfAborted()
    return new StepContainer({ preparation, request, rootfs, end })
  } catch (error) {
    await undo.unwind()
    throw error
  } finally {
    asking.removeEventListener('abort', giveUp)
  }
}
