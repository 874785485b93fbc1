import { existsSync, statfsSync } from 'node:fs'
import path from 'node:path'
import { badRequest } from '../core/errors.ts'
import type { LogLimits } from '../engine/settings.ts'
import { parseSize } from '../wire/sizes.ts'
import type { Given } from './flags.ts'

/** Caps and budget of logs, so that they cannot fill the disk: defaults, and what the daemon was told. */
const mebi = 1024 ** 2
const defaultMaxSize = '20m'
const defaultMaxFile = 5
/** Each container keeps its last MiB, so less would take nearly everything from a few. */
const leastBudget = 16 * mebi
const defaultBudgetMax = 10 * 1024 ** 3

/** A tenth of the data root's file system, at most 10 GiB. The data root itself may be yet to be made. */
const defaultBudget = (dataRoot: string): number => {
  let folder = dataRoot
  while (!existsSync(folder)) folder = path.dirname(folder)
  const { blocks, bsize } = statfsSync(folder)
  return Math.max(leastBudget, Math.min(defaultBudgetMax, Math.floor((blocks * bsize) / 10)))
}

const budgetOf = (value: unknown, dataRoot: string): number => {
  if (value === undefined || value === '') return defaultBudget(dataRoot)
  const size = parseSize(String(value))
  if (size === undefined)
    throw badRequest(
      `invalid value ${JSON.stringify(value)} for log-budget: want a size as 10g, or 0 for none`,
    )
  if (size > 0 && size < leastBudget)
    throw badRequest(
      `invalid value ${JSON.stringify(value)} for log-budget: at least 16m, since each container keeps its last MiB; or 0 for none`,
    )
  return size
}

const maxSizeOf = (value: unknown): number => {
  const text = value === undefined || value === '' ? defaultMaxSize : String(value)
  if (text === '-1') return 0
  const size = parseSize(text)
  if (!size)
    throw badRequest(
      `invalid value ${JSON.stringify(text)} for log-default-max-size: want a size as 20m, or -1 for no cap`,
    )
  return size
}

const maxFileOf = (value: unknown): number => {
  const count = (value as number | undefined) ?? defaultMaxFile
  if (!Number.isSafeInteger(count) || count < 1)
    throw badRequest(`invalid value ${count} for log-default-max-file: at least 1`)
  return count
}

/** Errors: `bad-request` that names the option. */
export const logLimitsOf = (values: Given, dataRoot: string): LogLimits => ({
  maxSize: maxSizeOf(values.get('log-default-max-size')),
  maxFile: maxFileOf(values.get('log-default-max-file')),
  budget: budgetOf(values.get('log-budget'), dataRoot),
})
