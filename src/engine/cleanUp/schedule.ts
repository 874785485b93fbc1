import { alarmAfter } from '../../core/alarm.ts'
import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'

/** Work that is done by itself, at intervals that go on over restarts of the daemon. */
export interface ScheduledWork {
  /** Names it in the database and, as "the clean-up of images", in the log. */
  id: string
  name: string
  /** Milliseconds between two; 0 for never. */
  interval(engine: Engine): number
  run(engine: Engine): Promise<void>
}

const kind = 'clean-up'
/** Milliseconds that a daemon is left alone after its start. */
const quietStart = 60_000

interface Note {
  /** Milliseconds since the epoch. */
  at: number
}

export class Schedule {
  readonly #work: ScheduledWork
  #alarm: Disposable | undefined
  #last: number | undefined

  constructor(work: ScheduledWork) {
    this.#work = work
  }

  /** At a start, and when the settings have changed. */
  async arm(engine: Engine): Promise<void> {
    this.#disarm()
    const interval = this.#work.interval(engine)
    if (interval === 0) return
    // The first interval begins when it is first wanted.
    const last = this.#last ?? (await this.#load(engine)) ?? (await this.#note(engine))
    const wait = Math.max(last + interval - Date.now(), Math.min(interval, quietStart))
    // Another one may have armed it meanwhile.
    this.#disarm()
    this.#alarm = alarmAfter(wait, () => void this.#run(engine))
  }

  #disarm(): void {
    this.#alarm?.[Symbol.dispose]()
    this.#alarm = undefined
  }

  async #load({ database }: Engine): Promise<number | undefined> {
    const stored = await database.load(kind)
    const note = stored.find(({ id }) => id === this.#work.id)?.value as Note | undefined
    // A clock that was set back would keep it from running for long.
    this.#last = note && Math.min(note.at, Date.now())
    return this.#last
  }

  async #note({ database }: Engine): Promise<number> {
    const note: Note = { at: Date.now() }
    this.#last = note.at
    await database.write([{ kind, id: this.#work.id, value: note }], { durable: false })
    return note.at
  }

  async #run(engine: Engine): Promise<void> {
    const { name } = this.#work
    try {
      if (engine.stopping) return
      await this.#note(engine)
      await this.#work.run(engine)
    } catch (error) {
      engine.log.error(`${name} failed`, { error: messageOf(error) })
    }
    await this.arm(engine).catch(error =>
      engine.log.error(`the next run of ${name} could not be planned`, { error: messageOf(error) }),
    )
  }
}
