import type { OpenBuildRecord } from '../../build/history/history.ts'
import type { BuildProgress } from '../../build/solver/progress.ts'
import { abandonable } from '../../core/abort.ts'
import { BerthError, conflict } from '../../core/errors.ts'
import type { Build, Builder, BuildResult } from './types.ts'

/** How long a call waits for the build that it names: the two may come in any order. Milliseconds. */
const patience = 6_000

/** A build while its `Control.Solve` lasts. */
export interface OpenBuild {
  ref: string
  build: Build
  progress: BuildProgress
  /** Somebody hears of its progress. */
  isHeard?: boolean
  /** Absent where nothing is kept of it. */
  record?: OpenBuildRecord | undefined
  /** Ends when the build does. */
  signal: AbortSignal
  /** What a client that leads the build returns. */
  returned: PromiseWithResolvers<BuildResult>
}

const noSuchBuild = (ref: string): BerthError => new BerthError('no-such-build', 404, `no such job ${ref}`)

/** The builds that are there, by ref. */
export class Builds {
  readonly #open = new Map<string, OpenBuild>()
  readonly #awaited = new Map<string, Set<() => void>>()
  readonly #refused = new Map<string, unknown>()
  /** Ended before anybody asked how they fare: a build of cached steps is done before a client's second call comes. */
  readonly #unheard = new Map<string, BuildProgress>()

  /** Errors: `conflict`. */
  add(build: OpenBuild): void {
    if (this.#open.has(build.ref)) throw conflict(`job ID ${build.ref} exists`)
    this.#open.set(build.ref, build)
    this.#unheard.delete(build.ref)
    this.#wake(build.ref)
  }

  /** A build that could not begin: other calls of it hear why, instead of waiting for it. */
  refuse(ref: string, error: unknown): void {
    this.#refused.set(ref, error)
    setTimeout(() => this.#refused.delete(ref), patience).unref()
    this.#wake(ref)
  }

  /** `isKept`: who comes later hears of it from its record. */
  remove(ref: string, { isKept }: { isKept: boolean }): void {
    const build = this.#open.get(ref)
    this.#open.delete(ref)
    if (!build || build.isHeard || isKept) return
    this.#unheard.set(ref, build.progress)
    const forget = (): void => {
      if (this.#unheard.get(ref) === build.progress) this.#unheard.delete(ref)
    }
    setTimeout(forget, patience).unref()
  }

  /** What to hear of a build, one that has just ended included. Errors: as `wait`. */
  async progress(ref: string, signal: AbortSignal): Promise<BuildProgress> {
    const ended = this.#unheard.get(ref)
    if (ended) return ended
    const build = await this.wait(ref, signal)
    build.isHeard = true
    return build.progress
  }

  has(ref: string): boolean {
    return this.#open.has(ref)
  }

  #wake(ref: string): void {
    for (const arrived of this.#awaited.get(ref) ?? []) arrived()
    this.#awaited.delete(ref)
  }

  /** Errors: `no-such-build` after some seconds, what refused it, the signal's reason. */
  async wait(ref: string, signal: AbortSignal, milliseconds = patience): Promise<OpenBuild> {
    if (ref === '') throw new BerthError('bad-request', 400, 'no buildid found in context')
    const late = AbortSignal.timeout(milliseconds)
    for (;;) {
      const there = this.#open.get(ref)
      if (there) return there
      if (this.#refused.has(ref)) throw this.#refused.get(ref)
      const { promise, resolve } = Promise.withResolvers<void>()
      const waiting = this.#awaited.getOrInsertComputed(ref, () => new Set())
      waiting.add(resolve)
      try {
        await abandonable(AbortSignal.any([signal, late]), promise)
      } catch (error) {
        throw signal.aborted || !late.aborted ? error : noSuchBuild(ref)
      } finally {
        waiting.delete(resolve)
        if (waiting.size === 0 && this.#awaited.get(ref) === waiting) this.#awaited.delete(ref)
      }
    }
  }
}

/** What all services stand on. */
export interface Services {
  builder: Builder
  builds: Builds
}
