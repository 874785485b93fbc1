import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds of work between two rests. */
const stretch = 25
/** A stretch that waited for the disk is not made up for whole. */
const longestRest = 500

/**
 * Work that may take long and is in nobody's way: it rests for as long as it
 * worked, so that it takes half of a core and half of a disk at most.
 */
export class Pace {
  #since = performance.now()

  async rest(): Promise<void> {
    const worked = performance.now() - this.#since
    if (worked < stretch) return
    await sleep(Math.min(worked, longestRest))
    this.#since = performance.now()
  }
}
