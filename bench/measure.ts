import { setTimeout as pause } from 'node:timers/promises'
import type { Group, Limit, Row, Sample } from './types.ts'

export interface Contender {
  name: string
  group: Group
  /** One act. May return its own wall time in milliseconds, where only a part of it counts. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most acts return nothing
  once(): Promise<number | void>
}

/** Wall time of an act, in milliseconds. */
export const timed = async (act: () => Promise<unknown>): Promise<number> => {
  const from = performance.now()
  await act()
  return performance.now() - from
}

const settleStep = 100
const settleSteps = 50

/** Waits until what goes on behind an answer (removal, a shim's end) has been done, so that it is counted. */
const settled = async (group: Group): Promise<number> => {
  let before = group.used()
  for (let step = 0; step < settleSteps; step++) {
    await pause(settleStep)
    const now = group.used()
    if (now - before < 2) return now
    before = now
  }
  return before
}

const take = async ({ group, once }: Contender): Promise<Sample> => {
  const cpu = await settled(group)
  const from = performance.now()
  const own = await once()
  const wall = own ?? performance.now() - from
  return { wall, cpu: (await settled(group)) - cpu }
}

/** Takes turns; the first acts of each, `warmups` of them, are not counted. */
export const interleave = async (
  contenders: readonly Contender[],
  rounds: number,
  warmups = 1,
): Promise<Map<string, Sample[]>> => {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]))
  for (let round = -warmups; round < rounds; round++)
    for (const contender of contenders) {
      const sample = await take(contender)
      if (round >= 0) samples.get(contender.name)?.push(sample)
    }
  return samples
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2
}

export const medianOf = (samples: Map<string, Sample[]>, name: string, key: keyof Sample): number =>
  median((samples.get(name) ?? []).map(sample => sample[key]))

export interface Comparison {
  name: string
  measure: string
  ours: number
  against: string
  theirs: number
  unit: string
  limit?: Limit
}

const short = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value >= 100 ? value.toFixed(0) : value.toFixed(1)

export const compare = (comparison: Comparison): Row => {
  const { name, measure, ours, against, theirs, unit, limit } = comparison
  return {
    name,
    measure,
    ours: `${short(ours)} ${unit}`,
    against: `${against} ${short(theirs)} ${unit}`,
    figure: ours / theirs,
    ...(limit ? { limit } : {}),
  }
}

/** A figure that is compared with its limit alone. */
export const plain = (name: string, measure: string, figure: number, limit?: Limit): Row => ({
  name,
  measure,
  ours: `${figure.toFixed(2)}`,
  against: '',
  figure,
  ...(limit ? { limit } : {}),
})

export const atMost = (value: number): Limit => ({ kind: 'at most', value })
export const atLeast = (value: number): Limit => ({ kind: 'at least', value })

export interface Pair {
  name: string
  ours: string
  theirs: string
  limit?: Limit
}

const comparePair = (samples: Map<string, Sample[]>, pair: Pair, key: keyof Sample): Row =>
  compare({
    name: pair.name,
    measure: key === 'cpu' ? 'CPU' : 'wall',
    ours: medianOf(samples, pair.ours, key),
    against: pair.theirs,
    theirs: medianOf(samples, pair.theirs, key),
    unit: 'ms',
    ...(pair.limit ? { limit: pair.limit } : {}),
  })

export const compareWall = (samples: Map<string, Sample[]>, pair: Pair): Row =>
  comparePair(samples, pair, 'wall')
export const compareCpu = (samples: Map<string, Sample[]>, pair: Pair): Row =>
  comparePair(samples, pair, 'cpu')
