import { badRequest } from '../core/errors.ts'

/** Truth values as Go reads them. */
const truths = ['1', 't', 'T', 'TRUE', 'true', 'True']
const falsehoods = ['0', 'f', 'F', 'FALSE', 'false', 'False']

/** Undefined for what is none. */
export const truthOf = (text: string): boolean | undefined =>
  truths.includes(text) ? true : falsehoods.includes(text) ? false : undefined

/** Errors: `bad-request` in Go's words, behind those of the caller. */
export const readTruth = (text: string, words = ''): boolean => {
  const truth = truthOf(text)
  if (truth === undefined)
    throw badRequest(`${words}strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`)
  return truth
}
