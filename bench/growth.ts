import { atMost, plain } from './measure.ts'
import { type Ours, resetPeak, residentOf } from './ours.ts'
import type { Engine, Row } from './types.ts'

/** What the daemon's resident set grew by at most, of all acts, MiB. */
export class Growth {
  readonly #ours: Ours
  #most = 0

  constructor(ours: Ours) {
    this.#ours = ours
  }

  async during<T>(engine: Engine, act: () => Promise<T>): Promise<T> {
    if (engine !== this.#ours) return await act()
    const { pid } = this.#ours.daemon
    resetPeak(pid)
    const before = residentOf(pid).now
    const result = await act()
    this.#most = Math.max(this.#most, residentOf(pid).peak - before)
    return result
  }

  row(name: string): Row {
    return plain(name, 'grows by MiB', this.#most, atMost(64))
  }
}
