import type { KeyDigest, ResultCache, ResultMark, Tree } from './types.ts'

/** What a vertex gave: by index of its results, those that nobody wants perhaps missing. */
export interface Outcome {
  trees: readonly (Tree | undefined)[]
  /** What its results count by; undefined where only their content tells. */
  chains: readonly (KeyDigest | undefined)[]
  /** Ids of their records, where there are some. */
  records: readonly (string | undefined)[]
  /** Keeps it until released. */
  hold(): Hold
}

export interface Hold {
  release(): Promise<void>
}

export const markOf = ({ chains, records }: Outcome, index: number): ResultMark => {
  const [chain, record] = [chains[index], records[index]]
  return { ...(chain === undefined ? {} : { chain }), ...(record === undefined ? {} : { record }) }
}

/** Of records, which the cache keeps while they are held. */
export const holdOfRecords = (cache: ResultCache, ids: readonly string[]): Hold => {
  using holds = new DisposableStack()
  for (const id of ids) holds.use(cache.hold(id))
  const kept = holds.move()
  return {
    release: async () => kept.dispose(),
  }
}

/** Of what no record keeps: it is given up with the last who holds it. Begins with nobody. */
export const holdsOfUnrecorded = (discard: () => Promise<void>): (() => Hold) => {
  let holders = 0
  return () => {
    holders++
    let isReleased = false
    return {
      release: async () => {
        if (isReleased) return
        isReleased = true
        if (--holders === 0) await discard()
      },
    }
  }
}

/** Of what somebody else keeps. */
export const noHold = (): Hold => ({ release: async () => {} })
