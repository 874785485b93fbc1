import { parseTime } from '../../core/clock.ts'
import { SerialQueue } from '../../core/queue.ts'
import type { MonitorClient } from '../../runtime/types.ts'
import type { Operation } from '../operations.ts'
import type { PendingAttach } from './attach.ts'
import type { StartCause } from './endTypes.ts'
import type { ContainerRecord } from './types.ts'
import type { Waiter } from './waiters.ts'

/** A container in memory: its record, and what belongs to this daemon's life only. */
export class Container {
  record: ContainerRecord
  #created: bigint | undefined
  /** Verbs that change it run one after another; reads never wait here. */
  readonly queue = new SerialQueue()
  monitor: MonitorClient | undefined
  /** Clears away the run that has ended, where that still waits in the queue. */
  finishRun: () => Promise<void> = async () => {}
  /** The start that is under way: what it has in the kernel is in use. */
  starting: Operation | undefined
  /** The last run whose end has been cleared away. */
  finishedRun = 0
  /** Clients that attached before the start. */
  attaching: PendingAttach[] = []
  waiters: Waiter[] = []
  /** Milliseconds of the last restart delay. */
  backoff = 0
  /** Set while a restart policy waits to start it again. */
  restartTimer: NodeJS.Timeout | undefined
  /** The next health probe. */
  healthAlarm: Disposable | undefined
  /** How often it was paused: what was measured meanwhile does not count. */
  pauses = 0
  /** True from the moment a removal has begun. */
  removing = false
  /** Called when the current run has ended and been taken note of. */
  exitListeners = new Set<() => void>()
  /** Called when it has been removed. */
  removeListeners = new Set<() => void>()
  /** Why the next start happens, where nobody asked for it by a call. */
  startCause: StartCause | '' = ''
  /** A run of it has its volumes, whose release is to be told. */
  holdsVolumes = false
  /** True between the two halves of `docker restart`. */
  restarting = false
  /** A start by policy is coming: others that need this container wait for it. */
  expectedStart: PromiseWithResolvers<void> | undefined

  constructor(record: ContainerRecord) {
    this.record = record
  }

  /** Nanoseconds since the epoch. */
  get created(): bigint {
    this.#created ??= parseTime(this.record.created) ?? 0n
    return this.#created
  }

  get id(): string {
    return this.record.id
  }

  /** It has, or is about to have, mounts, a network and a monitor. */
  get isAlive(): boolean {
    return this.isRunning || this.starting !== undefined
  }

  get isRunning(): boolean {
    return this.record.state.status === 'running' || this.record.state.status === 'paused'
  }

  expectStart(): void {
    this.expectedStart ??= Promise.withResolvers()
  }

  /** The start that was expected came, failed, or was given up. */
  startSettled(): void {
    this.expectedStart?.resolve()
    this.expectedStart = undefined
  }
}
