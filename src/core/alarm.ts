import { nowNanos } from './clock.ts'

/** A Node timer that is to wait longer than this fires at once. Milliseconds. */
const longestWait = 2 ** 31 - 1

/** Calls `act` when no milliseconds are left: a timer can be early by one of another clock's. Disposal cancels it. */
const alarm = (left: () => number, act: () => void): Disposable => {
  let timer: NodeJS.Timeout | undefined
  const arm = (): void => {
    const milliseconds = left()
    timer = setTimeout(
      () => (left() > 0 ? arm() : act()),
      Math.min(Math.max(Math.ceil(milliseconds), 0), longestWait),
    )
  }
  arm()
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}

/** After a time of any length, infinite ones too. Milliseconds. */
export const alarmAfter = (milliseconds: number, act: () => void): Disposable => {
  const end = performance.now() + milliseconds
  return alarm(() => end - performance.now(), act)
}

/** At a time of the wall clock, also where that is set meanwhile. Nanoseconds since the epoch. */
export const alarmAt = (nanos: bigint, act: () => void): Disposable =>
  alarm(() => Number(nanos - nowNanos()) / 1e6, act)
