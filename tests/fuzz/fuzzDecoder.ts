import { mkdtempDisposable } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import type { DecoderJob, DecoderResult } from './decoderWorker.ts'

const inputMax = 65_536
/** Milliseconds without a call that came back: much more than the slowest input takes. */
const patience = 60_000
const memory = 512

/** What a decoder did in its time. */
export interface Outcome {
  calls: number
  failure?: { input: Uint8Array; text: string }
}

/** Runs one decoder in a thread of its own for so many milliseconds; a hang, too much memory and a foreign exception are failures. */
export const fuzzDecoder = async (target: string, seed: number, duration: number): Promise<Outcome> => {
  const shared = new SharedArrayBuffer(8 + inputMax)
  const counters = new Int32Array(shared, 0, 2)
  await using folder = await mkdtempDisposable('/tmp/berth-fuzz-')
  const workerData: DecoderJob = { target, seed, duration, shared, folder: folder.path }
  const worker = new Worker(new URL('decoderWorker.ts', import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: memory },
  })
  const died = (text: string): Outcome => ({
    calls: counters[0] ?? 0,
    failure: { input: Buffer.from(Buffer.from(shared, 8, counters[1])), text },
  })
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  worker.once('message', (result: DecoderResult) => resolve(result))
  worker.once('error', error => resolve(died(String(error))))
  worker.once('exit', code => resolve(died(`the thread ended with ${code}`)))
  let seen = 0
  const watch = setInterval(() => {
    if (seen === counters[0]) resolve(died(`it hangs: no answer for ${patience / 1000} s`))
    seen = counters[0] ?? 0
  }, patience)
  try {
    return await promise
  } finally {
    clearInterval(watch)
    await worker.terminate()
  }
}
