import { lstatSync, rmSync } from 'node:fs'

/**
 * Removes a folder with all that is in it, or a file, or nothing. Node's own
 * `rmSync` takes a file that another process removes at the same time (a monitor
 * its socket, a runtime its state) for the end of its work: it returns, and the
 * folder stays. Errors: those of `rmSync`.
 */
export const removeTree = (place: string): void => {
  do rmSync(place, { recursive: true, force: true })
  while (lstatSync(place, { throwIfNoEntry: false }))
}
