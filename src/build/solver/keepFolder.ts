import type { Vertex } from '../graph/types.ts'
import type { Flight } from './flights.ts'
import type { Outcome } from './outcome.ts'
import { type Doing, recordMade, releaseSoon, treeOf } from './runStep.ts'
import type { KeyDigest } from './types.ts'

/** Of a client's folder that a result stands on, what stays after the build: a record by its content. */
export const keepFolder = async (
  doing: Doing,
  { vertex, outcome, chain }: { vertex: Vertex; outcome: Outcome; chain: KeyDigest },
  { signal }: Flight,
): Promise<Outcome> => {
  const hold = outcome.hold()
  try {
    const begun = performance.now()
    const tree = await doing.runner.keep(treeOf(outcome, 0), signal)
    const step = { vertex, inputs: [{ outcome, index: 0 }], keys: [chain], made: undefined }
    const made = { trees: [tree], duration: performance.now() - begun }
    const kept = await recordMade(doing, step, made)
    releaseSoon(kept.held)
    return kept.outcome
  } finally {
    // Let go only when those who wait hold what is kept.
    releaseSoon(hold)
  }
}
