import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Buffers lie outside V8's heap, and each thread's V8 looks for garbage among them only when there are 64 MiB of it: a
 * stream of large pieces would make the process that much larger for each thread it passes through, and work on memory
 * that no cache holds any more. A collection of what is young, every few MiB, costs less than it saves.
 */

const everyBytes = 4 << 20

let passed = 0
let collect: ((options: { type: 'minor' }) => void) | undefined

/** The function is V8's own, which it shows to new contexts only once it was asked to. */
const collector = (): NonNullable<typeof collect> => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}

/** To be told of pieces that were used and are not needed any more, in bytes. */
export const discarded = (bytes: number): void => {
  passed += bytes
  if (passed < everyBytes) return
  passed = 0
  collect ??= collector()
  collect({ type: 'minor' })
}
