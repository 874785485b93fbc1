import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { alarmAfter } from '../../core/alarm.ts'
import { BerthError, conflict, hasCode, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { killGroup } from '../../linux/cgroups.ts'
import { signalNumber } from '../../linux/signals.ts'
import type { Engine } from '../engine.ts'
import type { Operation, Requester } from '../operations.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { causeAttributes, endingOf, isFinal, noteEnding } from './ends.ts'
import type { Ending } from './endTypes.ts'
import { giveUpStart } from './giveUpStart.ts'
import { containerGroup } from './groups.ts'
import { notRunning } from './notRunning.ts'
import { cancelRestart } from './restart.ts'
import { outlivesBoot } from './restartPolicy.ts'
import { startInQueue } from './start.ts'
import { settleExit } from './state.ts'

const run = promisify(execFile)

/** Seconds after SIGKILL before the whole group is killed, and again before it is given up. */
const killPatience = 5

/** Settles with true when the current run has ended; with false after `milliseconds` (Infinity: never). An abort ends the waiting. */
export const exitWithin = (
  container: Container,
  milliseconds: number,
  signal?: AbortSignal,
): Promise<boolean> => {
  if (!container.isRunning) return Promise.resolve(true)
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      container.exitListeners.delete(ended)
      alarm[Symbol.dispose]()
      signal?.removeEventListener('abort', abandon)
    }
    const abandon = (): void => {
      leave()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', abandon, { once: true })
    const done = (value: boolean) => () => {
      leave()
      resolve(value)
    }
    const ended = done(true)
    container.exitListeners.add(ended)
    const alarm = alarmAfter(milliseconds, done(false))
  })
}

const sendSignal = (container: Container, signal: number): void => {
  const { pid } = container.record.state
  // Zero would be this daemon's own process group.
  if (pid <= 0) return
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** After the signal, which one that is paused takes when it runs on. With version 2 of control groups a SIGKILL does not wait for that: nothing may be left to run on. */
const signalPaused = async (engine: Engine, container: Container): Promise<void> => {
  if (container.record.state.status !== 'paused') return
  try {
    await setPaused(engine, container, { paused: false })
  } catch (error) {
    engine.log.warn('a paused container that was signalled could not be unpaused', {
      container: container.id,
      error: messageOf(error),
    })
  }
}

/** Written down before the signal, so that no restart policy undoes it after a crash. A full disk stops nobody from stopping. */
const noteStop = async (engine: Engine, container: Container, ending?: Ending): Promise<void> => {
  container.record.state.stoppedByCall = true
  await record(engine, container, ending)
}

const record = async (engine: Engine, container: Container, ending?: Ending): Promise<void> => {
  if (ending) noteEnding(container, ending)
  await engine.containers.save(container, { durable: outlivesBoot(container) }).catch(error => {
    engine.log.error('a stop could not be recorded', { container: container.id, error: messageOf(error) })
  })
}

/** SIGKILL, then the whole group where that is not enough. Settles when the end has been noted. */
export const killAndWait = async (engine: Engine, container: Container): Promise<void> => {
  sendSignal(container, 9)
  await signalPaused(engine, container)
  if (await exitWithin(container, killPatience * 1000)) return
  killGroup(containerGroup(engine.settings, container.record).group)
  if (await exitWithin(container, killPatience * 1000)) return
  throw new BerthError(
    'kill-failed',
    500,
    `container ${container.id} did not end after SIGKILL: a process is stuck in the kernel (see its state in /proc/${container.record.state.pid}/status)`,
  )
}

/** Calls a planned restart off, where there is one. The signal has nobody to go to. */
const killRestarting = async (
  engine: Engine,
  container: Container,
  { ends, requester }: { ends: boolean; requester: Requester },
): Promise<boolean> => {
  if (container.record.state.status !== 'restarting') return false
  if (!ends) return true
  cancelRestart(container, { verb: 'kill', requester })
  await noteStop(engine, container)
  return true
}

/** `POST /containers/{id}/kill`. Errors: 409 where it does not run. */
export const killContainer = async (
  engine: Engine,
  container: Container,
  { signal, requester }: { signal: string; requester: Requester },
): Promise<void> => {
  const number = signalNumber(signal || 'SIGKILL')
  const ending: Ending = { cause: 'killed-by-call', verb: 'kill', signal: number, by: requester }
  const ends = isFinal(container, ending)
  await settleExit(engine, container)
  if (await killRestarting(engine, container, { ends, requester })) return
  if (giveUpStart(container, 'a kill')) return
  if (!container.isRunning) throw notRunning(container)
  await (ends ? noteStop : record)(engine, container, ending)
  failpoint('kill.recorded')
  sendSignal(container, number)
  failpoint('kill.signalled')
  killEvent(engine, container, ending)
  if (ends) await signalPaused(engine, container)
  if (number === 9) await exitWithin(container, killPatience * 1000)
}

export const killEvent = (engine: Engine, container: Container, ending: Ending): void =>
  containerEvent(engine, container, 'kill', { ...causeAttributes(ending), signal: String(ending.signal) })

export interface StopOptions {
  signal?: string
  /** Seconds; negative waits for ever. */
  timeout?: number
  operation: Operation
  /** Where nobody asked for it by a call. */
  because?: Pick<Ending, 'cause' | 'detail'>
}

/** `POST /containers/{id}/stop`. A cancelled one waits no longer; signals that were sent stay sent. Returns false where it did not run. */
export const stopContainer = async (
  engine: Engine,
  container: Container,
  { operation, ...options }: StopOptions,
): Promise<boolean> => {
  await settleExit(engine, container)
  const wasRestarting = container.record.state.status === 'restarting'
  cancelRestart(container, operation)
  if (giveUpStart(container, 'a stop')) return true
  const name = options.signal || container.record.config.StopSignal || 'SIGTERM'
  const ending: Ending = {
    ...endingOf(operation, container.isRunning ? signalNumber(name) : 0),
    ...options.because,
  }
  await noteStop(engine, container, container.isRunning ? ending : undefined)
  failpoint('stop.recorded')
  if (container.isRunning) await endWithPatience(engine, container, { operation, ending, ...options })
  else if (!wasRestarting) return false
  containerEvent(engine, container, 'stop', causeAttributes(ending))
  await container.queue.run(async () => {})
  return true
}

/** The stop signal, then SIGKILL when the time is over. */
const endWithPatience = async (
  engine: Engine,
  container: Container,
  { operation, ending, ...options }: StopOptions & { ending: Ending },
): Promise<void> => {
  const timeout = options.timeout ?? container.record.config.StopTimeout ?? engine.settings.defaultStopTimeout
  sendSignal(container, ending.signal)
  failpoint('stop.signalled')
  killEvent(engine, container, ending)
  await signalPaused(engine, container)
  operation.at(`waiting for its end after signal ${ending.signal}`)
  const patience = timeout < 0 ? Number.POSITIVE_INFINITY : timeout * 1000
  if (await exitWithin(container, patience, operation.signal)) return
  operation.commit('SIGKILL has been sent')
  operation.at('waiting for its end after SIGKILL')
  const forced = { ...ending, signal: 9 }
  noteEnding(container, forced)
  killEvent(engine, container, forced)
  await killAndWait(engine, container)
}

/** `POST /containers/{id}/restart` */
export const restartContainer = async (
  engine: Engine,
  container: Container,
  options: StopOptions,
): Promise<void> => {
  const { operation } = options
  container.restarting = true
  try {
    await stopContainer(engine, container, options)
    await container.queue.run(() => startInQueue(engine, container, operation), operation.signal)
  } finally {
    container.restarting = false
  }
  const { requester: by } = operation
  containerEvent(engine, container, 'restart', causeAttributes({ cause: 'call', by }))
}

const setPaused = async (
  engine: Engine,
  container: Container,
  { paused, signal }: { paused: boolean; signal?: AbortSignal | undefined },
): Promise<void> => {
  const runtime = engine.settings.runtimes.get(container.record.hostConfig.Runtime ?? '')
  if (!runtime) throw notRunning(container)
  const verb = paused ? 'pause' : 'resume'
  const { runs } = container.record
  try {
    await run(runtime.path, [...runtime.args, '--root', runtime.root, verb, container.id], {
      killSignal: 'SIGKILL',
      ...(signal ? { signal } : {}),
    })
  } catch (error) {
    throw new BerthError(
      'pause-failed',
      500,
      `cannot ${paused ? 'pause' : 'unpause'} container ${container.id}: ${messageOf(error)}`,
      { cause: error },
    )
  }
  failpoint('pause.done')
  // What it was killed by may have ended it as soon as it ran on.
  if (!container.isRunning || container.record.runs !== runs) return
  if (paused) container.pauses += 1
  container.record.state.status = paused ? 'paused' : 'running'
  await engine.containers.save(container)
  containerEvent(engine, container, paused ? 'pause' : 'unpause')
}

/** `POST /containers/{id}/pause` */
export const pauseContainer = (engine: Engine, container: Container, signal?: AbortSignal): Promise<void> =>
  container.queue.run(async () => {
    await settleExit(engine, container)
    if (container.record.state.status === 'paused')
      throw conflict(`container ${container.id} is already paused`)
    if (!container.isRunning) throw notRunning(container)
    await setPaused(engine, container, { paused: true, signal })
  }, signal)

/** `POST /containers/{id}/unpause` */
export const unpauseContainer = (engine: Engine, container: Container, signal?: AbortSignal): Promise<void> =>
  container.queue.run(async () => {
    await settleExit(engine, container)
    if (container.record.state.status !== 'paused') throw conflict(`Container ${container.id} is not paused`)
    await setPaused(engine, container, { paused: false, signal })
  }, signal)
