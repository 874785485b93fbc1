import type { BuildHistory, OpenBuildRecord } from '../build/history/history.ts'
import type { BuildInputs } from '../build/history/types.ts'
import type { BuildProgress, SourceExcerpt } from '../build/solver/progress.ts'
import { recordedError } from './buildkit/grpcErrors.ts'

/** Builds of any door, with the records that are kept of them. */

export interface Recorded {
  /** Absent where nothing is kept. */
  history: BuildHistory | undefined
  inputs: BuildInputs
  progress: BuildProgress
  sourcesOf(error: unknown): SourceExcerpt[]
}

/** Does a build, which gives what its client is told of the result, and ends its progress. Settles when the record is kept. */
export const recordedBuild = async (
  { history, inputs, progress, sourcesOf }: Recorded,
  work: (record: OpenBuildRecord | undefined) => Promise<Record<string, string>>,
): Promise<Record<string, string>> => {
  const record = history?.begin(inputs, progress)
  try {
    const response = await work(record)
    progress.end()
    await record?.end({ response })
    return response
  } catch (error) {
    progress.end()
    await record?.end({ error: recordedError(error, sourcesOf(error)) })
    throw error
  }
}
