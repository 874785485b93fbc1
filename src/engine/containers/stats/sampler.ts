import { messageOf } from '../../../core/errors.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { emptyStats, sampleStats } from './sample.ts'
import type { Stats } from './types.ts'

/** Milliseconds between two samples of one container. */
const interval = 1000

type Listener = (stats: Stats) => void

/** One container's samples for all who listen; nothing is read while nobody does. */
class Sampler {
  readonly #take: () => Stats
  readonly #listeners = new Set<Listener>()
  #timer: NodeJS.Timeout | undefined

  constructor(take: () => Stats) {
    this.#take = take
  }

  /** The first listener's first sample comes at once. */
  listen(listener: Listener): Disposable {
    this.#listeners.add(listener)
    if (!this.#timer) {
      this.#timer = setInterval(() => this.#sample(), interval)
      queueMicrotask(() => this.#sample())
    }
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(listener)
        if (this.#listeners.size > 0) return
        clearInterval(this.#timer)
        this.#timer = undefined
      },
    }
  }

  #sample(): void {
    if (this.#listeners.size === 0) return
    const stats = this.#take()
    for (const listener of this.#listeners) listener(stats)
  }
}

const samplers = new WeakMap<Container, Sampler>()

const samplerOf = (engine: Engine, container: Container): Sampler => {
  const known = samplers.get(container)
  if (known) return known
  const sampler = new Sampler(() => {
    try {
      return sampleStats(engine, container)
    } catch (error) {
      engine.log.error('figures of a container could not be read', {
        container: container.id,
        error: messageOf(error),
      })
      return emptyStats(container)
    }
  })
  samplers.set(container, sampler)
  return sampler
}

/**
 * Samples, one a second, until the container is removed or `signal` aborts. A
 * reader that is slow misses samples; it gets the newest.
 */
export async function* followStats(
  engine: Engine,
  container: Container,
  signal: AbortSignal,
): AsyncGenerator<Stats> {
  let newest: Stats | undefined
  let ended = signal.aborted || container.removing
  let wake = (): void => {}
  const end = (): void => {
    ended = true
    wake()
  }
  signal.addEventListener('abort', end, { once: true })
  container.removeListeners.add(end)
  using _listening = samplerOf(engine, container).listen(stats => {
    newest = stats
    wake()
  })
  try {
    while (!ended) {
      const stats = newest
      newest = undefined
      if (stats) yield stats
      else await new Promise<void>(resolve => (wake = resolve))
    }
  } finally {
    signal.removeEventListener('abort', end)
    container.removeListeners.delete(end)
  }
}
