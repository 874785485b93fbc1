import { setTimeout as delay } from 'node:timers/promises'
import { troubleOf } from './failures.ts'
import type { Timings } from './transport.ts'

export interface RetryOptions {
  attempts: number
  timings: Pick<Timings, 'firstPause' | 'longestPause'>
  signal: AbortSignal
  /** An attempt failed; another follows after so many milliseconds. */
  follow?: ((error: unknown, pause: number) => void) | undefined
}

/** Before attempt `failed + 1`: doubling, a random part of it, so that many clients do not come back at once. */
export const pauseAfter = (
  failed: number,
  timings: RetryOptions['timings'],
  after: number | undefined,
  random: number = Math.random(),
): number => {
  const full = Math.min(timings.firstPause * 2 ** Math.min(failed - 1, 30), timings.longestPause)
  return Math.max(full * (0.5 + random / 2), after ?? 0)
}

export const pauseFor = async (milliseconds: number, signal: AbortSignal): Promise<void> => {
  try {
    await delay(milliseconds, undefined, { signal })
  } catch {
    throw signal.reason
  }
}

/** Repeats what failed for a reason that may pass. */
export const retried = async <T>(work: () => Promise<T>, options: RetryOptions): Promise<T> => {
  for (let failed = 1; ; failed += 1) {
    try {
      return await work()
    } catch (error) {
      const { transient, after } = troubleOf(error)
      if (options.signal.aborted) throw options.signal.reason
      if (!transient || failed >= options.attempts) throw error
      const pause = pauseAfter(failed, options.timings, after)
      options.follow?.(error, pause)
      await pauseFor(pause, options.signal)
    }
  }
}
