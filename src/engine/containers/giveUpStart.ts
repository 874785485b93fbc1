import { readFileSync } from 'node:fs'
import { hasCode } from '../../core/errors.ts'
import type { MonitorClient } from '../../runtime/types.ts'
import type { Container } from './container.ts'

/** Children of a process (proc(5), `/proc/PID/task/TID/children`); none where it is gone. */
const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

const descendantsOf = (pid: number): number[] =>
  childrenOf(pid).flatMap(child => [child, ...descendantsOf(child)])

const killDescendants = (pid: number): void => {
  for (const descendant of descendantsOf(pid)) {
    try {
      process.kill(descendant, 'SIGKILL')
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
}

/** Milliseconds after which a runtime that has begun another process meanwhile is met again. */
const nextRound = 200

/**
 * From an abort until it is disposed of, kills a runtime that is at work and
 * all that it begins: its monitor then says that the start failed.
 */
export const killRuntimeOnAbort = (signal: AbortSignal, monitor: MonitorClient): Disposable => {
  let timer: NodeJS.Timeout | undefined
  const kill = (): void => {
    if (monitor.status.phase === 'running' || monitor.status.phase === 'exited') return
    killDescendants(monitor.pid)
    timer = setTimeout(kill, nextRound)
  }
  if (signal.aborted) kill()
  signal.addEventListener('abort', kill, { once: true })
  return {
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', kill)
      clearTimeout(timer)
    },
  }
}

/** Ends a start that is under way, whatever it waits for; it takes back what it made. `by` as in Operation.cancel. False where none is. */
export const giveUpStart = (container: Container, by: string): boolean => {
  if (!container.starting || container.isRunning) return false
  container.starting.cancel(by)
  return true
}
