import { parseTime, zeroTime } from '../../core/clock.ts'
import { requesterText } from './ends.ts'
import type { EndCause, Outcome, RunEnd, RunStart } from './endTypes.ts'
import type { ContainerRecord } from './types.ts'

/** Ends and starts in plain sentences. */

const by = (who: RunStart['by']): string => (who ? ` by ${requesterText(who)}` : '')

const inSeconds = (milliseconds: number): string =>
  milliseconds < 1000 ? `${milliseconds} ms` : `${milliseconds / 1000} s`

const ranFor = ({ startedAt, at }: RunEnd): string => {
  const nanos = (parseTime(at) ?? 0n) - (parseTime(startedAt) ?? 0n)
  return inSeconds(Number(nanos / 1_000_000n))
}

const causes: Record<EndCause, (end: RunEnd) => string> = {
  exit: ({ exitCode }) => `its process ended by itself with exit code ${exitCode}`,
  signal: ({ signal }) => `signal ${signal}, that came by no call, ended it`,
  oom: () => 'the kernel killed it because it needed more memory than it may have, or than there was',
  'killed-by-call': ({ verb, by: who, detail }) =>
    `docker ${verb} was called${by(who)}${detail ? ` (${detail})` : ''}`,
  dependency: ({ detail }) => `the container that it needed has ended (${detail})`,
  daemon: ({ detail }) => `the daemon ended it: ${detail}`,
  'host-restart': ({ detail }) => detail ?? 'the host was restarted, or lost power',
  'start-failed': ({ detail }) => `it could not be started: ${detail}`,
}

const plainly = ({ verb, by: who }: Outcome & { what: 'cancelled' }): string =>
  `The restart that its policy had planned was called off by docker ${verb}${by(who)}.`

const outcomeText = (outcome: Outcome): string => {
  switch (outcome.what) {
    case 'restart':
      return `Its restart policy starts it again after ${inSeconds(outcome.delay)}, for the ${outcome.count}. time.`
    case 'gave-up':
      return `Its restart policy gave up after ${outcome.count} restarts.`
    case 'cancelled':
      return plainly(outcome)
    case 'call':
      return 'The same call starts it again.'
    case 'stayed':
      return ''
  }
}

const beginning: Record<RunStart['cause'], (start: RunStart) => string> = {
  call: ({ verb, by: who }) => `docker ${verb ?? 'start'}${by(who)}`,
  'restart-policy': () => 'its restart policy',
  'daemon-start': () => 'its restart policy, when the daemon started',
}

const startText = (start: RunStart): string => beginning[start.cause](start)

/** One end, and what came of it. */
export const endText = (end: RunEnd): string => {
  const head =
    end.startedAt === zeroTime ? end.at : `${end.at}: ended with ${end.exitCode} after ${ranFor(end)}`
  const memory =
    end.oom && end.cause !== 'oom' ? 'The kernel had killed one of its processes for lack of memory.' : ''
  const next = end.next ? `It was started again at ${end.next.at} by ${startText(end.next)}.` : ''
  return [`${head}: ${causes[end.cause](end)}.`, memory, outcomeText(end.outcome), next]
    .filter(Boolean)
    .join(' ')
}

/** How things stand now. */
export const runText = ({ name, state, begun, ends = [] }: ContainerRecord): string => {
  const what = `Container ${name} is ${state.status}`
  if (state.status === 'created') return `${what}: it has never run.`
  if (state.status === 'running' || state.status === 'paused')
    return `${what} since ${state.startedAt}${begun ? `, started by ${startText(begun)}` : ''}.`
  const last = ends.at(-1)
  return last ? `${what}: ${causes[last.cause](last)}.` : `${what}.`
}
