import { alarmAfter } from '../../../core/alarm.ts'
import { messageOf } from '../../../core/errors.ts'
import type { Engine } from '../../engine.ts'
import { cleanUpImages, cleanUpVerb } from './cleanUp.ts'
import { hasLimit } from './limits.ts'

/** The clean-up by itself, at intervals that go on over restarts of the daemon. */

const kind = 'clean-up'
const id = 'last'
/** Milliseconds that a daemon is left alone after its start. */
const quietStart = 60_000

interface Note {
  /** Milliseconds since the epoch. */
  at: number
}

export class CleanUpSchedule {
  #alarm: Disposable | undefined
  #last: number | undefined

  /** At a start, and when the settings have changed. */
  async arm(engine: Engine): Promise<void> {
    this.#disarm()
    const { interval } = engine.settings.imageCleanUp
    if (!hasLimit(engine.settings.imageCleanUp) || interval === 0) return
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
    const note = (await database.load(kind))[0]?.value as Note | undefined
    // A clock that was set back would keep it from running for long.
    this.#last = note && Math.min(note.at, Date.now())
    return this.#last
  }

  async #note({ database }: Engine): Promise<number> {
    const note: Note = { at: Date.now() }
    this.#last = note.at
    await database.write([{ kind, id, value: note }], { durable: false })
    return note.at
  }

  async #run(engine: Engine): Promise<void> {
    try {
      if (engine.stopping) return
      await this.#note(engine)
      using operation = engine.operations.begin({
        verb: cleanUpVerb,
        subject: { type: 'images', id: '', name: '' },
      })
      const limits = engine.settings.imageCleanUp
      const { plan, removed } = await cleanUpImages(engine, { limits, operation })
      for (const text of plan.short)
        engine.log.warn(`after the clean-up of images still: ${text}`, { removed: removed.length })
    } catch (error) {
      engine.log.error('the clean-up of images failed', { error: messageOf(error) })
    }
    await this.arm(engine).catch(error =>
      engine.log.error('the next clean-up of images could not be planned', { error: messageOf(error) }),
    )
  }
}
