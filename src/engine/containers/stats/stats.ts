import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { settleExit } from '../state.ts'
import { emptyStats, sampleStats } from './sample.ts'
import { followStats } from './sampler.ts'
import type { Stats } from './types.ts'

export interface StatsOptions {
  /** Go on until the container is removed. */
  stream: boolean
  /** Without a stream: one sample at once, with nothing to compare it with. */
  oneShot: boolean
  signal: AbortSignal
}

/** A sample with the one before it. */
const after = (stats: Stats, before: Stats | undefined): Stats =>
  before ? { ...stats, preread: before.read, precpu_stats: before.cpu_stats } : stats

/** `GET /containers/{id}/stats`: one sample, or one a second. */
export async function* containerStats(
  engine: Engine,
  container: Container,
  options: StatsOptions,
): AsyncGenerator<Stats> {
  await settleExit(engine, container)
  const { stream, oneShot, signal } = options
  if (!stream && !container.isRunning) {
    yield emptyStats(container)
    return
  }
  if (!stream && oneShot) {
    yield sampleStats(engine, container)
    return
  }
  let before: Stats | undefined
  for await (const stats of followStats(engine, container, signal)) {
    if (stream || before) yield after(stats, before)
    if (!stream && before) return
    before = stats
  }
}
