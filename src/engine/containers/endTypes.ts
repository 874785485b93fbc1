import type { Requester } from '../operations.ts'

/**
 * Why a run ended:
 *
 * - `exit`: its first process ended by itself.
 * - `signal`: that was ended by a signal that came by no call.
 * - `oom`: the kernel killed it, for memory.
 * - `killed-by-call`: a stop, kill, restart or rm that somebody asked for.
 * - `dependency`: the container whose process namespace it shared has ended.
 * - `daemon`: this daemon ended it, or found it without its monitor.
 * - `host-restart`: the host went down.
 * - `start-failed`: there was no run.
 */
export type EndCause =
  | 'exit'
  | 'signal'
  | 'oom'
  | 'killed-by-call'
  | 'dependency'
  | 'daemon'
  | 'host-restart'
  | 'start-failed'

/** What began a run: somebody's call, the restart policy after an end, or the policy when the daemon started. */
export type StartCause = 'call' | 'restart-policy' | 'daemon-start'

export interface RunStart {
  /** When it was asked for: RFC 3339, before the first byte of output. */
  at: string
  cause: StartCause
  /** Of a call: `start` or `restart`. */
  verb?: string
  by?: Requester
}

/** Somebody's doing that is to end the run, written down before its signal goes. */
export interface Ending {
  cause: 'killed-by-call' | 'daemon' | 'host-restart'
  /** `stop`, `kill`, `restart` or `rm`. */
  verb: string
  /** The last one that was sent for it. */
  signal: number
  by?: Requester
  detail?: string
}

/** What was decided at an end. */
export type Outcome =
  /** The restart policy waits so many milliseconds, for its so-manieth restart since somebody asked for a start. */
  | { what: 'restart'; delay: number; count: number }
  /** The policy's restarts are used up. */
  | { what: 'gave-up'; count: number }
  /** A restart that the policy had planned was called off. */
  | { what: 'cancelled'; verb: string; by?: Requester }
  /** `docker restart` starts it again. */
  | { what: 'call' }
  | { what: 'stayed' }

export interface RunEnd {
  /** When its start was asked for: what it wrote came later. */
  begunAt: string
  /** Go's zero time where it never ran. */
  startedAt: string
  at: string
  exitCode: number
  /** That ended it, as far as the exit code tells. */
  signal?: number
  cause: EndCause
  /** The kernel killed one of its processes for memory, not necessarily the first. */
  oom?: true
  /** Of a call. */
  verb?: string
  by?: Requester
  /** More, in words. */
  detail?: string
  outcome: Outcome
  /** The start that followed. */
  next?: RunStart
}
