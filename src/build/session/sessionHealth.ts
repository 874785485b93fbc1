import { setTimeout as pause } from 'node:timers/promises'
import { create } from '@bufbuild/protobuf'
import { Health, HealthCheckRequestSchema } from '../../wire/buildkit/health_pb.ts'
import type { Session } from './session.ts'

/** A client that answers no more is no client. As BuildKit waits; milliseconds. */
const interval = 5_000
const shortestTimeout = 15_000
const failuresAllowed = 1

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

const watch = async (session: Session): Promise<void> => {
  let failures = 0
  let took = 0
  while (failures <= failuresAllowed) {
    await pause(interval, undefined, { ref: false, signal: session.signal })
    const begun = performance.now()
    const well = await answers(session, Math.max(shortestTimeout, took * 1.5))
    took = performance.now() - begun
    failures = well ? 0 : failures + 1
  }
}

/** Asks the client now and then until its session ends; closes it after the second failure in a row. */
export const watchHealth = (session: Session): void => {
  watch(session).then(
    () => session.close(),
    () => {},
  )
}
