/** Numbers that look like chance, the same for the same seed. */
export const numbersFrom = (seed: number): ((below: number) => number) => {
  let state = Math.imul(seed, 2654435761) >>> 0
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
