import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { containerEvent } from '../containerEvents.ts'
import { containerDirectory, logPath } from '../logConfig.ts'
import { Growth } from '../logs/growth.ts'
import { Cursor, type Place } from './cursor.ts'
import { deliveringDrivers, isDelivering, isPluginDriver } from './drivers.ts'
import { followLog, undelivered } from './follow.ts'
import { pluginEncoding } from './pluginEncoding.ts'
import { EntryParser, sourceOf } from './source.ts'
import type { Encoding, Wire } from './types.ts'
import { openWire } from './wire.ts'

/** What was sent within so many milliseconds before a connection was lost is sent again. */
const doubt = 1000
/** Milliseconds between attempts at a sink that is not there. */
const firstPause = 250
const longestPause = 10_000
/** A removal waits for so many milliseconds without progress. */
const patience = 2000

interface Sent {
  /** Where it began. */
  from: Place
  at: number
}

/** The delivery of one container's log while there is something to deliver, or may be. */
export class Delivery {
  readonly #engine: Engine
  readonly #container: Container
  readonly #log: string
  readonly #stop = new AbortController()
  #cursor: Cursor | undefined
  #failures = 0
  /** Nothing was delivered since the last failure. */
  #isFailing = false
  #recent: Sent[] = []
  #settling: NodeJS.Timeout | undefined
  #changed = Promise.withResolvers<void>()
  /** A run has begun since the last one's end was seen. */
  again = false
  readonly done: Promise<void>

  constructor(engine: Engine, container: Container) {
    this.#engine = engine
    this.#container = container
    this.#log = logPath(engine.settings.dataRoot, container.id)
    this.done = this.#run().catch(error => {
      if (!this.#stop.signal.aborted) this.#warn('a log could not be delivered', { error: messageOf(error) })
    })
  }

  #warn(what: string, details: object): void {
    const { id, record } = this.#container
    const driver = record.hostConfig.LogConfig?.Type
    this.#engine.log.warn(what, { container: id, driver, ...details })
  }

  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async #run(): Promise<void> {
    const directory = containerDirectory(this.#engine.settings.dataRoot, this.#container.id)
    if (!existsSync(directory)) return
    using growth = new Growth(this.#container, directory)
    await using cursor = await Cursor.open(this.#log)
    this.#cursor = cursor
    try {
      do {
        this.again = false
        while (!(await this.#attempt(cursor, growth))) await this.#pause()
      } while (this.again && !this.#stop.signal.aborted)
    } finally {
      clearTimeout(this.#settling)
    }
  }

  /** True where all there is has been delivered; false where it is to be tried again. */
  async #attempt(cursor: Cursor, growth: Growth): Promise<boolean> {
    const began = Date.now()
    const lost = new AbortController()
    const signal = AbortSignal.any([lost.signal, this.#stop.signal])
    const session: Session = { cursor, growth, signal, isBusy: false, onLost: error => lost.abort(error) }
    try {
      await this.#deliver(session)
      lost.signal.throwIfAborted()
      return true
    } catch (error) {
      if (this.#stop.signal.aborted) return true
      if (Date.now() - began > 2 * doubt) this.#failures = 0
      const isInDoubt = this.#rewind(cursor)
      // A connection that was closed while it was idle lost nothing.
      if (session.isBusy || isInDoubt) this.#failed(lost.signal.reason ?? error)
      return false
    }
  }

  #failed(error: unknown): void {
    this.#failures++
    this.#isFailing = true
    if (this.#failures === 1) this.#warn('a log cannot be delivered at present', { error: messageOf(error) })
    this.#tell()
  }

  #dropped(files: number): void {
    this.#warn('output was dropped before it had been delivered', { files })
    const attributes = { 'berth.cause': 'rotated-undelivered', 'berth.files': String(files) }
    containerEvent(this.#engine, this.#container, 'log_drop', attributes)
  }

  async #deliver(session: Session): Promise<void> {
    const { cursor, growth, signal, onLost } = session
    const encoding = encodingOf(this.#engine, this.#container)
    const parser = new EntryParser()
    let wire: Wire | undefined
    try {
      const batches = followLog(this.#engine, this.#container, {
        from: cursor.place,
        growth,
        signal,
        onLost: files => this.#dropped(files),
      })
      for await (const { lines, next } of batches) {
        const messages = lines.flatMap(line => {
          const entry = parser.parse(line)
          return entry ? encoding.encode(entry) : []
        })
        session.isBusy = true
        if (messages.length) {
          wire ??= await openWire(encoding.target, { signal, onLost })
          await wire.send(messages, signal)
          failpoint('delivery.sent')
        }
        session.isBusy = false
        this.#note(cursor.place)
        cursor.place = next
        await this.#record(cursor)
        failpoint('delivery.recorded')
      }
    } finally {
      wire?.[Symbol.dispose]()
    }
  }

  #note(from: Place): void {
    const at = Date.now()
    this.#isFailing = false
    this.#recent = [...this.#recent.filter(sent => sent.at > at - doubt), { from, at }]
    this.#tell()
  }

  /** Back to what is in doubt; false where nothing is. */
  #rewind(cursor: Cursor): boolean {
    const first = this.#recent.find(({ at }) => at > Date.now() - doubt)
    this.#recent = []
    if (first) cursor.place = first.from
    return first !== undefined
  }

  /** What is in doubt is left out: whoever finds the record does not know whether it came. */
  async #record(cursor: Cursor): Promise<void> {
    clearTimeout(this.#settling)
    const at = Date.now()
    const first = this.#recent.find(sent => sent.at > at - doubt)
    await cursor.record(first?.from ?? cursor.place)
    if (first) this.#settling = setTimeout(() => void this.#record(cursor).catch(() => {}), doubt).unref()
  }

  async #pause(): Promise<void> {
    if (this.#failures === 0) return
    const ms = Math.min(longestPause, firstPause * 2 ** (this.#failures - 1))
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {})
  }

  /** Settles when all is delivered, or it is no use to wait. */
  async settle(): Promise<void> {
    while (!this.#isFailing) {
      const late = Promise.withResolvers<'late'>()
      const timer = setTimeout(() => late.resolve('late'), patience)
      const done = this.done.then(() => 'done' as const)
      const seen = await Promise.race([done, late.promise, this.#changed.promise])
      clearTimeout(timer)
      if (seen) return
    }
  }

  /** Ends it, wherever it is. What was not delivered is so by the next one. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.done
  }

  /** Before the log is removed. */
  async finish(): Promise<void> {
    await this.settle()
    await this.stop()
    const bytes = this.#cursor ? await undelivered(this.#log, this.#cursor.place) : 0
    if (bytes === 0) return
    this.#warn('a container was removed before its log had been delivered', { bytes })
    const attributes = { 'berth.cause': 'removed-undelivered', 'berth.bytes': String(bytes) }
    containerEvent(this.#engine, this.#container, 'log_drop', attributes)
  }
}

interface Session {
  cursor: Cursor
  growth: Growth
  signal: AbortSignal
  /** Something is on its way. */
  isBusy: boolean
  onLost(error: Error): void
}

/** What the driver of a container makes of its lines. */
const encodingOf = (engine: Engine, { record }: Container): Encoding => {
  const { Type: type = '', Config: options = {} } = record.hostConfig.LogConfig ?? {}
  if (isPluginDriver(type)) return pluginEncoding(engine, record, type)
  const driver = deliveringDrivers.get(type)
  if (!driver) throw new Error(`the log driver ${type} delivers nothing`)
  return driver.open(sourceOf(record), options)
}

/** The deliveries under way, by container. */
export type Deliveries = Map<string, Delivery>

const isDelivered = ({ record }: Container): boolean => isDelivering(record.hostConfig.LogConfig?.Type ?? '')

/** A run has begun, or may have left lines that nobody has delivered. Does nothing for drivers that deliver nothing. */
export const beginDelivery = (engine: Engine, container: Container): void => {
  const { deliveries } = engine
  if (!isDelivered(container) || engine.stopping) return
  const running = deliveries.get(container.id)
  if (running) {
    running.again = true
    return
  }
  const delivery = new Delivery(engine, container)
  deliveries.set(container.id, delivery)
  void delivery.done.then(() => {
    if (deliveries.get(container.id) === delivery) deliveries.delete(container.id)
    // A run began when this one had already seen the end of the last.
    if (delivery.again && container.isRunning) beginDelivery(engine, container)
  })
}

/** At a daemon's start: goes on where the one before it was. */
export const resumeDeliveries = (engine: Engine): void => {
  for (const container of engine.containers.all()) beginDelivery(engine, container)
}

/** Before a container's log is removed: its last lines are delivered, where the sink takes them. */
export const finishDelivery = async (engine: Engine, container: Container): Promise<void> => {
  if (!isDelivered(container)) return
  const delivery = engine.deliveries.get(container.id) ?? new Delivery(engine, container)
  await delivery.finish()
}

export const stopDeliveries = async (engine: Engine): Promise<void> => {
  await Promise.all([...engine.deliveries.values()].map(delivery => delivery.stop()))
}
