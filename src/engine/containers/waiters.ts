import { badRequest } from '../../core/errors.ts'
import type { Container } from './container.ts'
import type { RawClient } from './rawClient.ts'

/** `POST /containers/{id}/wait` */
export type WaitCondition = 'not-running' | 'next-exit' | 'removed'

/** Errors: `bad-request`. */
export const parseWaitCondition = (text: string | undefined): WaitCondition => {
  if (text === undefined || text === '' || text === 'not-running') return 'not-running'
  if (text === 'next-exit' || text === 'removed') return text
  throw badRequest(`invalid condition: "${text}"`)
}

/** A client that waits here, because no monitor runs that could answer it. */
export interface Waiter {
  condition: WaitCondition
  client: RawClient
}

const answer = (waiter: Waiter, exitCode: number, error = ''): void => {
  void waiter.client.write(
    `${JSON.stringify({ StatusCode: exitCode, ...(error ? { Error: { Message: error } } : {}) })}\n`,
  )
  waiter.client.end()
}

/** Answers those who wait here for one of these conditions. */
export const answerWaiters = (container: Container, conditions: readonly WaitCondition[]): void => {
  const { exitCode } = container.record.state
  // As Docker: what a failed start said goes with the container.
  const error = conditions.includes('removed') ? '' : container.record.state.error
  const due = container.waiters.filter(waiter => conditions.includes(waiter.condition))
  container.waiters = container.waiters.filter(waiter => !due.includes(waiter))
  for (const waiter of due) answer(waiter, exitCode, error)
}
