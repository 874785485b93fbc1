import { readFileSync } from 'node:fs'
import { hasCode } from '../../core/errors.ts'
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

/**
 * Ends a start whose runtime is still at work, however long it would take: the
 * runtime and all that it has begun are killed, the monitor says that the start
 * failed, and the start takes back what it made. False where none is under way.
 */
export const giveUpStart = (container: Container): boolean => {
  const { monitor } = container
  if (!container.starting || container.isRunning || !monitor) return false
  for (const pid of descendantsOf(monitor.pid)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
  return true
}
