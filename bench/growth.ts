import { atMost, plain } from './measure.ts'
import { type Ours, resetPeak, residentOf } from './ours.ts'
import type { Engine, Row } from './types.ts'

/** What the daemon's own memory grew by at most, of all acts, MiB: the first is one of a daemon that has just started. */
export class Growth {
  readonly #ours: Ours
  #most = 0

  private constructor(ours: Ours) {
    this.#ours = ours
  }

  static async start(ours: Ours): Promise<Growth> {
    await ours.restart()
    return new Growth(ours)
  }

  async during<T>(engine: Engine, act: () => Promise<T>): Promise<T> {
    if (engine !== this.#ours) return await act()
    const { pid } = this.#ours.daemon
    resetPeak(pid)
    const before = residentOf(pid)
    const result = await act()
    const after = residentOf(pid)
    const files = Math.max(0, after.files - before.files)
    this.#most = Math.max(this.#most, after.peak - before.now - files)
    return result
  }

  row(name: string): Row {
    return plain(name, 'grows by MiB', this.#most, atMost(64))
  }
}
