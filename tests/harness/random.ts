/** Random numbers that a seed repeats (mulberry32). */
export interface Random {
  readonly seed: number
  /** 0 to `below` - 1. */
  below(below: number): number
  pick<T>(choices: readonly T[]): T
}

/** The seed is BERTH_TEST_SEED where none is given, or new: tell it, so that a failure can be repeated. */
export const newRandom = (
  seed = Number(process.env['BERTH_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31)),
): Random => {
  let state = seed
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  const pick = <T>(choices: readonly T[]): T => {
    const choice = choices[below(choices.length)]
    if (choice === undefined) throw new Error('nothing to pick from')
    return choice
  }
  return { seed, below, pick }
}
