import type { Floor } from './floor.ts'
import type { Ours } from './ours.ts'

/**
 * Every figure is a ratio of medians taken in one run, one subject after the
 * other in turn (A, B, A, B, …): this machine's hours differ more than engines do.
 *
 * - **subject**: whose work is measured: `ours`, the `peer` (dockerd), or a
 *   `floor`, the OCI runtime alone on a ready bundle.
 * - **row**: one figure beside its limit.
 */

/** What one act took. Milliseconds; `cpu` is of everything but the client. */
export interface Sample {
  wall: number
  cpu: number
}

export interface Limit {
  kind: 'at most' | 'at least'
  value: number
}

export interface Row {
  name: string
  /** `wall`, `CPU`, `lines/s`, … */
  measure: string
  /** As a person reads it: `12.3 ms`. */
  ours: string
  /** Who it is compared to, with its own figure: `dockerd 45 ms`; empty for a plain figure. */
  against: string
  /** Ours divided by theirs, or the plain figure itself; undefined where there is nothing to compare with. */
  figure: number | undefined
  limit?: Limit
}

/** Counts CPU time and names the place in the control group tree. */
export interface Group {
  /** Below the hierarchies' root: `/berth-bench-x/ours`. */
  readonly path: string
  /** CPU milliseconds used so far by all that ever lived in it. */
  used(): number
}

/** A daemon with Docker's API. */
export interface Engine {
  readonly name: string
  readonly socket: string
  readonly group: Group
  /** File that pins the network namespace in which it plays the host. */
  readonly namespace: string
}

/** What a group of rows may use; each is started when first asked for. */
export interface Bench {
  rounds: number
  ours(): Promise<Ours>
  peer(): Promise<Engine>
  floor(): Promise<Floor>
  say(text: string): void
}

export type RowGroup = (bench: Bench) => Promise<Row[]>
