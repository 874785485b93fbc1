import type { TestDaemon } from './daemon.ts'

/** `/berth/v1/builds`, as far as tests look at it. */
export interface BuildSummary {
  Ref: string
  Status: string
  Names: string[]
  Started: string
  Completed: string | null
  Client?: { Remote: string; Process?: { Name: string } }
  StepCounts: { Total: number; Completed: number; Cached: number }
  Error: string
}

export interface BuildStep {
  Name: string
  Cached: boolean
  Error: string
  Why: string[]
}

export interface BuildDetails extends BuildSummary {
  Attributes: Record<string, string>
  Result: Record<string, string>
  Steps: BuildStep[]
}

/** The newest first. */
export const builds = async (daemon: TestDaemon, query = ''): Promise<BuildSummary[]> =>
  (await daemon.json<{ Builds: BuildSummary[] }>('GET', `/berth/v1/builds${query}`)).Builds

export const newestBuild = async (daemon: TestDaemon): Promise<BuildDetails> => {
  const [newest] = await builds(daemon)
  if (!newest) throw new Error('no build is recorded')
  return await daemon.json('GET', `/berth/v1/builds/${newest.Ref}`)
}

export const buildLog = async (daemon: TestDaemon, ref: string): Promise<string> =>
  (await daemon.api('GET', `/berth/v1/builds/${ref}/log`)).text
