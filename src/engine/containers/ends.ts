import { formatNanos, nowText, zeroTime } from '../../core/clock.ts'
import { signalNumber } from '../../linux/signals.ts'
import type { ExitRecord } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation, Requester } from '../operations.ts'
import type { Container } from './container.ts'
import type { EndCause, Ending, Outcome, RunEnd, RunStart } from './endTypes.ts'
import { endedWithPartner } from './partners.ts'

/** What is remembered of a container's ends. All of it rides in writes of the record that are made anyway. */
const keptEnds = 10

/** Texts of exit records that this daemon wrote itself. */
export const monitorLost = 'monitor lost'
export const hostRestarted = 'the host was restarted'

const signalBase = 128
const highestSignal = 64

/** The signal that an exit code tells of, as shells and runtimes have it. */
export const signalOf = (exitCode: number): number | undefined =>
  exitCode > signalBase && exitCode <= signalBase + highestSignal ? exitCode - signalBase : undefined

/** Who asked, in one line: for the journal and for people. */
export const requesterText = ({ remote, process, subject, agent, requestId }: Requester): string =>
  [
    ...(process
      ? [`uid ${process.uid}`, `pid ${process.pid}${process.name ? ` (${process.name})` : ''}`]
      : [remote]),
    ...(subject ? [`certificate ${subject}`] : []),
    ...(agent ? [agent] : []),
    ...(requestId ? [`request ${requestId}`] : []),
  ].join(', ')

interface Caused {
  cause: string
  by?: Requester | undefined
  detail?: string | undefined
}

/** Attributes of an event, beside Docker's. */
export const causeAttributes = ({ cause, by, detail }: Caused): Record<string, string> => ({
  'berth.cause': cause,
  ...(by ? { 'berth.cause.by': requesterText(by) } : {}),
  ...(detail ? { 'berth.cause.detail': detail } : {}),
})

/** Notes what begins now. Whoever asked for it gets all the policy's restarts anew, as with Docker. */
export const noteBegun = (container: Container, { verb, requester }: Operation): void => {
  const cause = container.startCause || 'call'
  container.startCause = ''
  const begun: RunStart = { at: nowText(), cause }
  if (cause === 'call') Object.assign(begun, { verb, ...(requester ? { by: requester } : {}) })
  container.record.begun = begun
  delete container.record.ending
  if (cause === 'restart-policy') return
  container.record.restartCount = 0
  container.backoff = 0
}

/** It runs: what the end before it led to is known. */
export const noteNext = ({ record }: Container): void => {
  const end = record.ends?.at(-1)
  if (end && record.begun && end.begunAt !== record.begun.at) end.next = record.begun
}

/** Whether it is to end the run, for good or until a restart; other signals need not. */
export const isFinal = ({ record }: Container, { verb, signal }: Ending): boolean =>
  verb !== 'kill' || signal === 9 || signal === signalNumber(record.config.StopSignal || 'SIGTERM')

/** Says what is to end the run. A signal that need not end anything takes nothing back. */
export const noteEnding = (container: Container, ending: Ending): void => {
  const { record } = container
  if (record.ending && isFinal(container, record.ending) && !isFinal(container, ending)) return
  record.ending = ending
}

/** The ending that an operation stands for. */
export const endingOf = ({ verb, requester }: Operation, signal: number): Ending => ({
  cause: 'killed-by-call',
  verb,
  signal,
  ...(requester ? { by: requester } : {}),
})

type Why = Pick<RunEnd, 'cause' | 'verb' | 'by' | 'detail'>

const causeOf = (engine: Engine, container: Container, exit: ExitRecord): Why => {
  const { ending } = container.record
  if (exit.error === hostRestarted) return { cause: 'host-restart' }
  if (exit.error === monitorLost)
    return { cause: 'daemon', detail: 'its monitor was lost, and what was left of it was killed' }
  if (exit.error !== '') return { cause: 'daemon', detail: exit.error }
  const signal = signalOf(exit.exitCode)
  if (ending && (isFinal(container, ending) || ending.signal === signal)) {
    const { signal: _signal, ...why } = ending
    return why
  }
  if (exit.oomKilled && signal === 9) return { cause: 'oom' }
  if (signal === 9 && endedWithPartner(engine, container))
    return { cause: 'dependency', detail: `its process namespace, ${container.record.hostConfig.PidMode}` }
  return { cause: signal === undefined ? 'exit' : 'signal' }
}

const remember = ({ record }: Container, end: RunEnd): void => {
  record.ends = [...(record.ends ?? []), end].slice(-keptEnds)
  delete record.ending
}

/** Notes the end of a run; what comes of it is not known yet. */
export const noteEnd = (engine: Engine, container: Container, exit: ExitRecord): RunEnd => {
  const { state, begun } = container.record
  const signal = signalOf(exit.exitCode)
  const end: RunEnd = {
    begunAt: begun?.at ?? state.startedAt,
    startedAt: state.startedAt,
    at: formatNanos(exit.finishedAt),
    exitCode: exit.exitCode,
    ...(signal === undefined ? {} : { signal }),
    ...causeOf(engine, container, exit),
    ...(exit.oomKilled ? { oom: true as const } : {}),
    outcome: { what: 'stayed' },
  }
  remember(container, end)
  return end
}

/** Notes a start that came to nothing. */
export const noteFailedStart = (
  container: Container,
  { exitCode, detail }: { exitCode: number; detail: string },
): void => {
  const at = nowText()
  const cause: EndCause = 'start-failed'
  const { begun, restartCount, ends } = container.record
  // Noted when somebody called this restart off.
  const called = ends?.at(-1)?.outcome
  const givenUp: Outcome = called?.what === 'cancelled' ? called : { what: 'gave-up', count: restartCount }
  const outcome: Outcome = begun?.cause === 'restart-policy' ? givenUp : { what: 'stayed' }
  const begunAt = begun?.at ?? at
  noteNext(container)
  remember(container, { begunAt, startedAt: zeroTime, at, exitCode, cause, detail, outcome })
}

/** What is done about the latest end. */
export const noteOutcome = ({ record }: Container, outcome: Outcome): void => {
  const end = record.ends?.at(-1)
  if (end) end.outcome = outcome
}
