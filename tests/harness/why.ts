import type { TestDaemon } from './daemon.ts'
import { until } from './shell.ts'

/** What `why` says, as far as tests look at it. */
export interface By {
  Remote: string
  Process?: { Uid: number; Pid: number; Name: string }
  UserAgent: string
  RequestId: string
}

export interface Start {
  At: string
  Cause: string
  Verb?: string
  By?: By
}

export interface End {
  At: string
  StartedAt: string
  ExitCode: number
  Signal?: number
  Cause: string
  Verb?: string
  By?: By
  Detail?: string
  OOMKilled: boolean
  Outcome: { What: string; DelayMilliseconds?: number; Count?: number; Verb?: string; By?: By }
  Next?: Start
  Log: { Time: string; Stream: string; Text: string }[] | null
  Text: string
}

export interface Why {
  Status: string
  Start?: Start
  Ends: End[]
  Text: string
}

export const why = (daemon: TestDaemon, name: string): Promise<Why> =>
  daemon.json('GET', `/berth/v1/containers/${name}/why`)

/** The latest end, once there are so many. */
export const lastEnd = (daemon: TestDaemon, name: string, count = 1): Promise<End> =>
  until(`${name} has ended`, async () => {
    const { Ends, Status } = await why(daemon, name)
    return Ends.length >= count && Status !== 'running' ? Ends[0] : undefined
  })
