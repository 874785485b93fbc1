import { zeroTime } from '../../core/clock.ts'
import type { ContainerRecord } from './types.ts'

/** Of a container that has never run. */
export const createdState = (): ContainerRecord['state'] => ({
  status: 'created',
  pid: 0,
  exitCode: 0,
  error: '',
  oomKilled: false,
  startedAt: zeroTime,
  finishedAt: zeroTime,
  stoppedByCall: false,
})
