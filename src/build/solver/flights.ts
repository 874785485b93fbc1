import { abandonable } from '../../core/abort.ts'
import { Telling, type Told } from './telling.ts'
import type { BuildContext, StepReport } from './types.ts'

/**
 * Work that several builds may wait for: it is begun once, all who wait hear of it, and it is aborted
 * when the last of them has gone.
 */

/** One vertex of one build that waits. */
export interface Waiter {
  build: BuildContext
  /** Aborted when the build does not want it any more. */
  signal: AbortSignal
  hear(told: Told): void
  /** Of what the vertex takes. */
  hearInput(input: number, told: StepPart): void
}

/** What is told of a vertex that has given its result already. */
export type StepPart = Exclude<Told, { kind: 'vertex' | 'causes' }>

/** The work, as it sees those who wait. */
export interface Flight {
  signal: AbortSignal
  report: Telling
  builds(): BuildContext[]
  /** Tells all of what one of their inputs does. */
  inputReport(input: number): StepReport
}

interface Running<T> {
  anew: boolean
  waiters: Set<Waiter>
  controller: AbortController
  report: Telling
  result: Promise<T>
}

export interface Joining<T> {
  key: string
  waiter: Waiter
  /** What was begun for somebody who did not ask for that is not joined, but waited for. */
  anew: boolean
  begin(flight: Flight): Promise<T>
  /** What is there by now, looked up when nothing is under way. */
  known?(): T | undefined
}

export class Flights<T> {
  readonly #running = new Map<string, Running<T>>()

  get size(): number {
    return this.#running.size
  }

  /** Errors: the work's, the reason of the waiter's signal. Whoever leaves last leaves when the work has ended. */
  async join(joining: Joining<T>): Promise<T> {
    const { key, waiter, anew } = joining
    for (;;) {
      waiter.signal.throwIfAborted()
      const running = this.#running.get(key)
      if (running && !running.controller.signal.aborted && (running.anew || !anew))
        return await this.#wait(running, waiter)
      if (running) await abandonable(waiter.signal, settled(running.result))
      else {
        const known = joining.known?.()
        return known ?? (await this.#wait(this.#begin(joining), waiter))
      }
    }
  }

  #begin({ key, anew, begin }: Joining<T>): Running<T> {
    const [waiters, controller, report] = [new Set<Waiter>(), new AbortController(), new Telling()]
    const flight: Flight = {
      signal: controller.signal,
      report,
      builds: () => [...waiters].map(({ build }) => build),
      inputReport: input => inputReport(waiters, input),
    }
    // Begun in the next turn, when the first who waits has joined.
    const result = Promise.resolve()
      .then(() => begin(flight))
      .finally(() => this.#running.delete(key))
    const running = { anew, waiters, controller, report, result }
    this.#running.set(key, running)
    return running
  }

  async #wait({ waiters, controller, report, result }: Running<T>, waiter: Waiter): Promise<T> {
    const { hear } = waiter
    waiters.add(waiter)
    report.join(hear)
    try {
      return await abandonable(waiter.signal, result)
    } finally {
      waiters.delete(waiter)
      if (waiters.size === 0 && waiter.signal.aborted) {
        controller.abort(waiter.signal.reason)
        await settled(result)
      }
      report.leave(hear)
    }
  }
}

const settled = async (work: Promise<unknown>): Promise<void> => {
  await work.catch(() => {})
}

const inputReport = (waiters: ReadonlySet<Waiter>, input: number): StepReport => {
  // A part of an input has no process of its own: its output is told as it comes.
  const report = new Telling()
  report.join(told => {
    if (told.kind === 'vertex' || told.kind === 'causes') return
    for (const waiter of waiters) waiter.hearInput(input, told)
  })
  return report
}
