import { BerthError } from '../../core/errors.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import type { Range } from '../dockerfile/types.ts'

/** An error with the place that it is about, and words before its own. What has a place keeps it. */
export const placed = (error: unknown, range: Range, prefix = ''): unknown => {
  if (!(error instanceof BerthError)) return error
  if (error instanceof DockerfileError && error.ranges.length > 0) return error
  return new DockerfileError(prefix + error.message, [range], { cause: error })
}

/** Runs `work`; its errors get this place. */
export const at = <T>(range: Range, work: () => T, prefix = ''): T => {
  try {
    return work()
  } catch (error) {
    throw placed(error, range, prefix)
  }
}

/** The same for what takes time. */
export const atAsync = async <T>(range: Range, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    throw placed(error, range)
  }
}
