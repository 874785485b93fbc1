import { setTimeout as pause } from 'node:timers/promises'
import { create } from '@bufbuild/protobuf'
import { Health, HealthCheckRequestSchema } from '../../wire/buildkit/health_pb.ts'
import type { Session } from './session.ts'

/** A client that answers no more is no client. Milliseconds. */
interface Patience {
  interval: number
  timeout: number
  failuresAllowed: number
}

/** As BuildKit waits. */
const usual: Patience = { interval: 5_000, timeout: 15_000, failuresAllowed: 1 }
const shortest = 1_000

const patienceOf = (wanted: number | undefined): Patience => {
  if (wanted === undefined) return usual
  const time = Math.max(wanted, shortest)
  return { interval: time, timeout: time, failuresAllowed: 0 }
}

/** Whether it answered. A line that is busy may be slow: it gets longer than it took the last time. */
const answers = async (session: Session, timeout: number): Promise<boolean> => {
  try {
    const signal = AbortSignal.timeout(timeout)
    await session.unary(Health.method.check, create(HealthCheckRequestSchema), { signal })
    return true
  } catch {
    return false
  }
}

const watch = async (session: Session, patience: Patience): Promise<void> => {
  let failures = 0
  let took = 0
  while (failures <= patience.failuresAllowed) {
    await pause(patience.interval, undefined, { ref: false, signal: session.signal })
    const begun = performance.now()
    const well = await answers(session, Math.max(patience.timeout, took * 1.5))
    took = performance.now() - begun
    failures = well ? 0 : failures + 1
  }
}

/**
 * Asks the client now and then until its session ends; closes it after the second
 * failure in a row. A client may ask for a `timeout` of its own, of which one failure is enough.
 */
export const watchHealth = (session: Session, timeout?: number): void => {
  watch(session, patienceOf(timeout)).then(
    () => session.close(),
    () => {},
  )
}
