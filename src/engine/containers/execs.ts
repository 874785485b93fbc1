import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { BerthError, badRequest, conflict, hasCode, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { newId, nonce } from '../../core/ids.ts'
import { removeTree } from '../../linux/removeTree.ts'
import { startFailure } from '../../runtime/errors.ts'
import { launchMonitor } from '../../runtime/launch.ts'
import { connectMonitor, readExitRecord } from '../../runtime/monitor.ts'
import type { ExitRecord, MonitorClient, MonitorEvents } from '../../runtime/types.ts'
import type { ExecCreateRequest } from '../../wire/container.ts'
import { stdcopyFrame } from '../../wire/stdcopy.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { parseDetachKeys } from './detachKeys.ts'
import { execMonitorSpec } from './execMonitor.ts'
import { describeExec, type ExecRecord, execAction, failedRecord, readExecRecord } from './execRecord.ts'
import { killRuntimeOnAbort } from './giveUpStart.ts'
import { notRunning } from './notRunning.ts'
import type { RawClient } from './rawClient.ts'
import { settleExit } from './state.ts'
import { releaseStray } from './sweep.ts'

interface Exec {
  record: ExecRecord
  monitor: MonitorClient | undefined
  /** Begun by an earlier daemon: no start here waits for its outcome. */
  followed: boolean
  /** Called once when it has ended. */
  ended: (() => void)[]
}

/** Ended execs are remembered as long as their container, up to this many. */
const remembered = 64

const refused = (text: string): BerthError =>
  new BerthError(
    'exec-failed',
    400,
    `OCI runtime exec failed: exec failed: unable to start container process: ${text}: unknown`,
  )

/** Its state follows from the monitor's events; by the time of the answer it may have ended. */
const startProcess = async (
  monitor: MonitorClient,
  program: string,
  signal: AbortSignal | undefined,
): Promise<void> => {
  using _killing = signal && killRuntimeOnAbort(signal, monitor)
  try {
    const status = await monitor.start()
    if (status.phase === 'failed') throw refused(startFailure(status.exit?.error ?? '', program).message)
  } catch (error) {
    if (hasCode(error, 'monitor-refused')) throw refused(startFailure(messageOf(error), program).message)
    throw error
  }
}

export interface ExecStart {
  tty: boolean
  size?: [rows: number, columns: number]
  /** Absent: nobody attends. */
  accept?: () => Promise<RawClient>
  operation?: Pick<Operation, 'at' | 'signal'>
}

/** The execs of all containers. They live below exec-root, so that they outlive the daemon and not the host. */
export class Execs {
  readonly #byId = new Map<string, Exec>()
  readonly #root: string

  constructor(execRoot: string) {
    this.#root = path.join(execRoot, 'execs')
  }

  #directory(id: string): string {
    return path.join(this.#root, id)
  }

  /** Exec-root is memory: a call of its own is quicker than a thread's. */
  #save(exec: Exec): void {
    // Whole or not at all, since a monitor may depend on it being found again.
    const file = path.join(this.#directory(exec.record.id), 'exec.json')
    const temporary = `${file}.${nonce()}`
    writeFileSync(temporary, JSON.stringify(exec.record), { mode: 0o600 })
    renameSync(temporary, file)
  }

  /** Errors: 404 in Docker's words. */
  #get(id: string): Exec {
    const exec = this.#byId.get(id)
    if (!exec) throw new BerthError('no-such-exec', 404, `No such exec instance: ${id}`)
    return exec
  }

  idsOf(containerId: string): string[] {
    return [...this.#byId.values()].flatMap(({ record }) =>
      record.containerId === containerId && record.running ? [record.id] : [],
    )
  }

  async create(engine: Engine, container: Container, request: ExecCreateRequest): Promise<string> {
    if (!request.Cmd?.length) throw badRequest('No exec command specified')
    parseDetachKeys(request.DetachKeys)
    await checkRunning(engine, container)
    const record: ExecRecord = {
      id: newId(),
      containerId: container.id,
      request,
      started: false,
      running: false,
      pid: 0,
      exitCode: null,
    }
    mkdirSync(this.#directory(record.id), { recursive: true, mode: 0o710 })
    const exec: Exec = { record, monitor: undefined, followed: false, ended: [] }
    this.#save(exec)
    failpoint('exec.created')
    this.#byId.set(record.id, exec)
    this.#forgetOld(container.id)
    containerEvent(engine, container, execAction('exec_create', request), { execID: record.id })
    return record.id
  }

  #forgetOld(containerId: string): void {
    const ended = [...this.#byId.values()].filter(
      ({ record }) => record.containerId === containerId && record.exitCode !== null,
    )
    for (const { record } of ended.slice(0, Math.max(0, ended.length - remembered))) this.#forget(record.id)
  }

  #forget(id: string): void {
    const exec = this.#byId.get(id)
    this.#byId.delete(id)
    if (exec) void this.#discard(exec)
  }

  /** The monitor first: without its directory no later daemon could reach it. */
  async #discard(exec: Exec): Promise<void> {
    const { monitor, record } = exec
    if (monitor && record.exitCode === null) await new Promise<void>(resolve => exec.ended.push(resolve))
    await monitor?.release().catch(() => {})
    removeTree(this.#directory(record.id))
  }

  /** Drops all of a container that is removed. */
  forgetContainer(containerId: string): void {
    for (const { record } of [...this.#byId.values()])
      if (record.containerId === containerId) this.#forget(record.id)
  }

  /**
   * Starts an exec. `accept` takes the client's connection over; undefined runs
   * it detached. What the runtime refuses is told to the client in the stream,
   * since the answer's head is out by then.
   */
  async start(engine: Engine, id: string, options: ExecStart): Promise<void> {
    const exec = this.#get(id)
    const container = engine.containers.get(exec.record.containerId)
    if (exec.record.started) throw conflict(`exec ${id} has already been started`)
    await checkRunning(engine, container)
    this.#begin(exec)
    const { request } = exec.record
    const client = await options.accept?.()
    failpoint('exec.accepted')
    containerEvent(engine, container, execAction('exec_start', request), { execID: id })
    try {
      exec.monitor = await this.#launch(engine, container, exec, options.size)
      failpoint('exec.monitor')
      if (client) await this.#attach(exec, client)
      failpoint('exec.attached')
      options.operation?.at('waiting for the OCI runtime')
      await startProcess(exec.monitor, request.Cmd?.[0] ?? '', options.operation?.signal)
      failpoint('exec.started')
    } catch (thrown) {
      const error = options.operation?.signal.aborted ? options.operation.signal.reason : thrown
      if (exec.record.exitCode === null) this.#ended(engine, exec, failedRecord(messageOf(error)))
      await this.#tellFailure(exec, client, messageOf(error))
      if (!client) throw error
    }
  }

  /** Before the client has its stream: whose end without a process is no success, whenever this daemon dies. */
  #begin(exec: Exec): void {
    exec.record.started = true
    try {
      this.#save(exec)
    } catch (error) {
      exec.record.started = false
      throw error
    }
    failpoint('exec.begun')
  }

  /** By the monitor where it has the client already. */
  async #tellFailure({ monitor, record }: Exec, client: RawClient | undefined, text: string): Promise<void> {
    if (!monitor) {
      const bytes = Buffer.from(`${text}\r\n`)
      await client?.write(record.request.Tty ? bytes : stdcopyFrame(1, bytes))
      client?.end()
      return
    }
    await monitor.say(`${text}\r\n`).catch(() => {})
    await monitor.release().catch(() => {})
  }

  async #launch(
    engine: Engine,
    container: Container,
    exec: Exec,
    size?: [number, number],
  ): Promise<MonitorClient> {
    const { record } = exec
    const directory = this.#directory(record.id)
    const spec = await execMonitorSpec(engine, container, { record, directory, ...(size ? { size } : {}) })
    return launchMonitor(spec, {
      binary: engine.settings.monitorBinary,
      events: this.#events(engine, exec),
      parent: container.monitor,
    })
  }

  async #attach(exec: Exec, client: RawClient): Promise<void> {
    const { request } = exec.record
    await exec.monitor?.attach({
      fd: client.fd,
      stdin: request.AttachStdin ?? false,
      stdout: request.AttachStdout ?? false,
      stderr: request.AttachStderr ?? false,
      multiplexed: !request.Tty,
      pending: client.pending,
      detachKeys: parseDetachKeys(request.DetachKeys),
    })
    client.release()
  }

  #events(engine: Engine, exec: Exec): Partial<MonitorEvents> {
    return {
      started: ({ pid }) => {
        exec.record.running = true
        exec.record.pid = pid
      },
      exited: record => {
        // A start that was refused is told to the client first.
        if (record.phase === 'failed' && !exec.followed) return
        this.#ended(engine, exec, record)
        void exec.monitor?.release().catch(() => {})
      },
      clientGone: detached => {
        const container = engine.containers.byId(exec.record.containerId)
        if (detached && container)
          containerEvent(engine, container, 'exec_detach', { execID: exec.record.id })
      },
      closed: () => {
        if (exec.record.exitCode !== null) return
        // Without its monitor nobody would ever end it or learn of its end.
        this.kill(exec.record.id)
        this.#ended(
          engine,
          exec,
          readExitRecord(this.#directory(exec.record.id)) ?? failedRecord('monitor lost'),
        )
      },
    }
  }

  #ended(engine: Engine, exec: Exec, exit: ExitRecord): void {
    if (exec.record.exitCode !== null) return
    const wasRunning = exit.phase === 'exited'
    // An exec that could not run has 127 (not found) or, as Docker's, 126.
    exec.record.exitCode = wasRunning ? exit.exitCode : startFailure(exit.error).exitCode === 127 ? 127 : 126
    exec.record.running = false
    exec.record.pid = exit.pid
    const container = engine.containers.byId(exec.record.containerId)
    if (container && wasRunning)
      containerEvent(engine, container, 'exec_die', {
        execID: exec.record.id,
        exitCode: String(exit.exitCode),
      })
    for (const tell of exec.ended.splice(0)) tell()
    try {
      this.#save(exec)
    } catch (error) {
      if (!hasCode(error, 'ENOENT'))
        engine.log.warn('an exec could not be saved', { error: messageOf(error) })
    }
  }

  /** Settles when an exec has ended; for health probes. */
  async wait(id: string): Promise<number> {
    const exec = this.#get(id)
    if (exec.record.exitCode === null) await new Promise<void>(resolve => exec.ended.push(resolve))
    return exec.record.exitCode ?? -1
  }

  /** Ends a running exec's process. */
  kill(id: string): void {
    const { record } = this.#get(id)
    if (!record.running || record.pid === 0) return
    try {
      process.kill(record.pid, 'SIGKILL')
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }

  async resize(id: string, size: { columns: number; rows: number }): Promise<void> {
    const { monitor, record } = this.#get(id)
    if (!monitor || !record.running) throw conflict(`exec ${id} is not running`)
    await monitor.resize(size.columns, size.rows)
  }

  /** Engine API `ExecInspectResponse`; an end that was not told of yet is read from its record first. */
  inspect(engine: Engine, id: string): object {
    const exec = this.#get(id)
    if (exec.record.exitCode === null && exec.record.started) {
      const exit = readExitRecord(this.#directory(id))
      if (exit) this.#ended(engine, exec, exit)
    }
    return describeExec(exec.record)
  }

  record(id: string): ExecRecord {
    return this.#get(id).record
  }

  /** Takes back what an earlier daemon started: runs on, or ended meanwhile. */
  async recover(engine: Engine): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o710 })
    for (const id of await readdir(this.#root)) await this.#recoverOne(engine, id)
  }

  async #recoverOne(engine: Engine, id: string): Promise<void> {
    const directory = this.#directory(id)
    const record = await readExecRecord(directory)
    if (!record || !engine.containers.byId(record.containerId)) {
      await releaseStray(engine, directory)
      await rm(directory, { recursive: true, force: true })
      return
    }
    const exec: Exec = { record, monitor: undefined, followed: true, ended: [] }
    this.#byId.set(id, exec)
    if (record.exitCode === null) await this.#takeBack(engine, exec)
    else await releaseStray(engine, directory)
  }

  /** One whose end is not known yet: it runs on, it ended meanwhile, or it never began. */
  async #takeBack(engine: Engine, exec: Exec): Promise<void> {
    const { record } = exec
    const directory = this.#directory(record.id)
    const exit = readExitRecord(directory)
    if (exit) this.#ended(engine, exec, exit)
    try {
      exec.monitor = await connectMonitor(directory, this.#events(engine, exec))
    } catch (error) {
      if (record.started && !exit) this.#ended(engine, exec, failedRecord(messageOf(error)))
      return
    }
    const { phase, pid } = exec.monitor.status
    record.started = true
    record.running = phase === 'running'
    record.pid = pid
    if (phase === 'starting' || phase === 'running') return
    if (!exit) this.#ended(engine, exec, exec.monitor.status.exit ?? failedRecord('it was never started'))
    await exec.monitor.release().catch(() => {})
  }
}

const checkRunning = async (engine: Engine, container: Container): Promise<void> => {
  await settleExit(engine, container)
  const { status } = container.record.state
  if (status === 'paused')
    throw conflict(`Container ${container.id} is paused, unpause the container before exec`)
  if (!container.isRunning) throw notRunning(container)
}
