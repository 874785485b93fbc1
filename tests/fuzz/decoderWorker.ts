import { parentPort, workerData } from 'node:worker_threads'
import { BerthError } from '../../src/core/errors.ts'
import { newRandom } from '../harness/random.ts'
import { targets } from './decoders.ts'
import { mutated } from './mutate.ts'

/**
 * Gives one decoder inputs until the time is over. What it is given stands in
 * memory that is shared with the main thread before each call, so that an input
 * at which it hangs or dies is known.
 */
export interface DecoderJob {
  target: string
  seed: number
  /** Milliseconds. */
  duration: number
  /** Number of calls, length of the input, the input. */
  shared: SharedArrayBuffer
  /** For files that a decoder reads. */
  folder: string
}

export interface DecoderResult {
  calls: number
  /** Of the first exception that is no error of ours. */
  failure?: { input: Buffer; text: string }
}

const { target, seed, duration, shared } = workerData as DecoderJob
const counters = new Int32Array(shared, 0, 2)
const place = Buffer.from(shared, 8)

const isOurs = (error: unknown): boolean => error instanceof BerthError

const work = async (): Promise<DecoderResult> => {
  const random = newRandom(seed)
  const chosen = targets[target]
  if (!chosen) throw new Error(`no decoder ${target}`)
  const seeds = chosen.seeds.map(given => Buffer.from(given as string))
  const end = Date.now() + duration
  let calls = 0
  for (; calls % 32 !== 0 || Date.now() < end; calls++) {
    const input = calls < seeds.length ? (seeds[calls] as Buffer) : mutated(seeds, random)
    input.copy(place)
    counters[1] = input.length
    Atomics.add(counters, 0, 1)
    try {
      const result = chosen.decode(Buffer.from(input))
      if (result instanceof Promise) await result
    } catch (error) {
      if (!isOurs(error))
        return {
          calls,
          failure: { input, text: error instanceof Error ? (error.stack ?? '') : String(error) },
        }
    }
  }
  return { calls }
}

parentPort?.postMessage(await work())
