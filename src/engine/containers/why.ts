import { fixedWidth, parseTime, zeroTime } from '../../core/clock.ts'
import { hasCode } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Requester } from '../operations.ts'
import type { Container } from './container.ts'
import type { RunEnd, RunStart } from './endTypes.ts'
import { logPath } from './logConfig.ts'
import { lineTime } from './logs/format.ts'
import { lastLines } from './logs/lastLines.ts'
import { checkReadable } from './logs/read.ts'
import { settleExit } from './state.ts'
import { endText, runText } from './whyText.ts'

/** `GET /berth/v1/containers/{id}/why`: what is known of a container's ends and starts. */

export interface WhyOptions {
  /** How many ends, the latest. */
  ends: number
  /** Lines of output for each. */
  lines: number
}

/** A line of output is shown up to here. */
const shownCharacters = 2000

const shownRequester = (by: Requester): object => ({
  Remote: by.remote,
  ...(by.process ? { Process: { Uid: by.process.uid, Pid: by.process.pid, Name: by.process.name } } : {}),
  ...(by.subject ? { Subject: by.subject } : {}),
  UserAgent: by.agent,
  RequestId: by.requestId,
})

const shownBy = (by: Requester | undefined): object => (by ? { By: shownRequester(by) } : {})

const shownStart = ({ at, cause, verb, by }: RunStart): object => ({
  At: at,
  Cause: cause,
  ...(verb ? { Verb: verb } : {}),
  ...shownBy(by),
})

const shownOutcome = ({ outcome }: RunEnd): object => ({
  What: outcome.what,
  ...('delay' in outcome ? { DelayMilliseconds: outcome.delay } : {}),
  ...('count' in outcome ? { Count: outcome.count } : {}),
  ...('verb' in outcome ? { Verb: outcome.verb, ...shownBy(outcome.by) } : {}),
})

const hasLog = (container: Container): boolean => {
  try {
    checkReadable(container)
    return true
  } catch (error) {
    if (hasCode(error, 'unreadable-log')) return false
    throw error
  }
}

interface ShownLine {
  Time: string
  Stream: string
  Text: string
}

const asText = (time: string, otherwise: string): string => {
  const nanos = parseTime(time)
  return nanos === undefined ? otherwise : fixedWidth(nanos)
}

const theLast = '9999'

/** What a run wrote: from its start's beginning to that of the next. */
const outputOf = async (
  engine: Engine,
  container: Container,
  { end, following, lines }: { end: RunEnd; following: string | undefined; lines: number },
): Promise<ShownLine[] | null> => {
  if (!hasLog(container)) return null
  if (end.startedAt === zeroTime) return []
  const span = { since: asText(end.begunAt, ''), until: asText(following ?? '', theLast) }
  const found = await lastLines(logPath(engine.settings.dataRoot, container.id), span, lines)
  return found.map(line => ({
    Time: lineTime(line),
    Stream: line.stream,
    Text: line.log.replace(/\n$/, '').slice(0, shownCharacters),
  }))
}

const shownEnd = (end: RunEnd, log: ShownLine[] | null): object => ({
  At: end.at,
  StartedAt: end.startedAt,
  ExitCode: end.exitCode,
  ...(end.signal === undefined ? {} : { Signal: end.signal }),
  Cause: end.cause,
  ...(end.verb ? { Verb: end.verb } : {}),
  ...shownBy(end.by),
  ...(end.detail ? { Detail: end.detail } : {}),
  OOMKilled: end.oom ?? false,
  Outcome: shownOutcome(end),
  ...(end.next ? { Next: shownStart(end.next) } : {}),
  Log: log,
  Text: endText(end),
})

export interface WhyAnswer {
  json: object
  /** The same in sentences, with the output. */
  text: string
}

const withOutput = (end: RunEnd, log: ShownLine[] | null): string => {
  if (log === null) return `${endText(end)}\n  (its log cannot be read back)`
  return [endText(end), ...log.map(line => `  ${line.Stream === 'stderr' ? '!' : '|'} ${line.Text}`)].join(
    '\n',
  )
}

/** The latest end comes first. */
export const whyContainer = async (
  engine: Engine,
  container: Container,
  { ends: most, lines }: WhyOptions,
): Promise<WhyAnswer> => {
  await settleExit(engine, container)
  const { id, name, state, begun, restartCount, ends: known = [] } = container.record
  const first = Math.max(0, known.length - most)
  const outputs = await Promise.all(
    known.slice(first).map(async (end, index) => {
      const following =
        known[first + index + 1]?.begunAt ?? (begun?.at === end.begunAt ? undefined : begun?.at)
      return { end, log: await outputOf(engine, container, { end, following, lines }) }
    }),
  )
  outputs.reverse()
  const now = runText(container.record)
  return {
    json: {
      Id: id,
      Name: `/${name}`,
      Status: state.status,
      StartedAt: state.startedAt,
      RestartCount: restartCount,
      ...(begun ? { Start: shownStart(begun) } : {}),
      Ends: outputs.map(({ end, log }) => shownEnd(end, log)),
      Text: now,
    },
    text: `${[now, ...outputs.map(({ end, log }) => withOutput(end, log))].join('\n\n')}\n`,
  }
}
