import { parseTime, zeroTime } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { OperationRequest, Requester } from '../operations.ts'
import type { Container } from './container.ts'
import { noteOutcome } from './ends.ts'
import type { Outcome } from './endTypes.ts'
import { partners } from './partners.ts'
import { startInQueue } from './start.ts'

/** Restart policies with Docker's back-off: 100 ms, doubled up to a minute, reset by a run of ten seconds. */
const firstDelay = 100
const longestDelay = 60_000
const goodRun = 10_000_000_000n

/** Whether a policy wants another run after this end. */
export const wantsRestart = (container: Container): boolean => {
  const { hostConfig, state, restartCount } = container.record
  if (container.removing || state.stoppedByCall) return false
  const { Name: name = 'no', MaximumRetryCount: most = 0 } = hostConfig.RestartPolicy ?? {}
  if (name === 'always' || name === 'unless-stopped') return true
  return name === 'on-failure' && state.exitCode !== 0 && (most === 0 || restartCount < most)
}

const delayOf = (container: Container): number => {
  const { startedAt, finishedAt } = container.record.state
  const start = parseTime(startedAt) ?? 0n
  const end = parseTime(finishedAt) ?? 0n
  if (startedAt !== zeroTime && end - start >= goodRun) container.backoff = 0
  const delay = container.backoff === 0 ? firstDelay : Math.min(container.backoff * 2, longestDelay)
  container.backoff = delay
  return delay
}

/** Marks the container as restarting, unless an earlier daemon did so; the returned function sets the clock. */
export const planRestart = (engine: Engine, container: Container): (() => void) | undefined => {
  const { record } = container
  const isPlanned = record.state.status === 'restarting'
  if (engine.stopping || !(isPlanned || wantsRestart(container))) return undefined
  if (!isPlanned) record.restartCount += 1
  record.state.status = 'restarting'
  const delay = delayOf(container)
  return () => {
    // Nothing starts before restore has compared both sides; then it resumes who waits.
    if (engine.restoring) return
    container.expectStart()
    container.restartTimer = setTimeout(() => void restartWhenPossible(engine, container), delay)
  }
}

/** What has been decided about the end of a run. */
export const outcomeOf = ({ record, backoff, restarting }: Container): Outcome => {
  const { hostConfig, state, restartCount: count } = record
  if (state.status === 'restarting') return { what: 'restart', delay: backoff, count }
  if (restarting) return { what: 'call' }
  const { Name: policy, MaximumRetryCount: most = 0 } = hostConfig.RestartPolicy ?? {}
  const isUsedUp = policy === 'on-failure' && most > 0 && count >= most
  return isUsedUp && state.exitCode !== 0 && !state.stoppedByCall
    ? { what: 'gave-up', count }
    : { what: 'stayed' }
}

/** A start that nobody asked for by a call. */
export const ownStart = ({ id, record }: Container): OperationRequest => ({
  verb: 'start',
  subject: { type: 'container', id, name: record.name },
})

/** Settles when starts are over of containers that must run before this one can: whose namespaces it shares, or it links to. */
export const neededStarts = async (engine: Engine, { record }: Container): Promise<void> => {
  const linked = (record.links ?? []).flatMap(({ id }) => engine.containers.byId(id) ?? [])
  await Promise.all(
    [...partners(engine, record), ...linked].map(({ expectedStart }) => expectedStart?.promise),
  )
}

const restartWhenPossible = async (engine: Engine, container: Container): Promise<void> => {
  try {
    await neededStarts(engine, container)
    await restartNow(engine, container)
  } finally {
    container.startSettled()
  }
}

const restartNow = (engine: Engine, container: Container): Promise<void> =>
  container.queue.run(async () => {
    container.restartTimer = undefined
    if (container.record.state.status !== 'restarting' || container.removing) return
    container.startCause = 'restart-policy'
    using operation = engine.operations.begin(ownStart(container))
    try {
      await startInQueue(engine, container, operation)
    } catch (error) {
      container.record.state.status = 'exited'
      engine.log.error('restart failed', { container: container.id, error: messageOf(error) })
      await engine.containers.save(container)
    }
  })

/** Ends a restart that waits for its time. The caller has the record written. */
export const cancelRestart = (
  container: Container,
  { verb, requester }: { verb: string; requester?: Requester | undefined },
): void => {
  clearTimeout(container.restartTimer)
  container.restartTimer = undefined
  container.startSettled()
  if (container.record.state.status !== 'restarting') return
  container.record.state.status = 'exited'
  noteOutcome(container, { what: 'cancelled', verb, ...(requester ? { by: requester } : {}) })
}
