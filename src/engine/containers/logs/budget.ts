import { statSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { hasCode, messageOf, unavailable } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { Gate } from '../../../core/queue.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { containerEvent } from '../containerEvents.ts'
import { logPath } from '../logConfig.ts'
import { beginCompression } from './compress.ts'
import { compressedName, listLogFiles, type MeasuredLogFile, measureLogFiles, swapLogFiles } from './files.ts'
import { step } from './ledger.ts'
import { trimFile, trimLeftover } from './trim.ts'

/**
 * Holds all logs together below the budget. What goes, until there is room again:
 * first the oldest rotated files of whichever log is the largest; then the current
 * file of the largest is rotated, and what is rotated shortened to its end. The last
 * MiB of a container is never taken.
 */
const kept = step
/** Logs that are no longer are left alone: those that can give nothing are not looked at again and again. */
const spared = 2 * kept
/** Less than this is not worth writing the rest of a file anew. */
const crumb = 64 * 1024
/** So much of a shortened file is copied at most. */
const copyMax = 16 * 1024 ** 2
/** Milliseconds; a rotation is two renames. */
const rotationDeadline = 10_000

const fileOf = (engine: Engine, id: string): string => logPath(engine.settings.dataRoot, id)

const sum = (files: readonly MeasuredLogFile[]): number => files.reduce((total, { size }) => total + size, 0)

/** The files as they are, which also sets the counts right. */
const look = async (engine: Engine, id: string): Promise<MeasuredLogFile[]> => {
  const log = fileOf(engine, id)
  const files = await measureLogFiles(log)
  if (!engine.containers.byId(id)) {
    engine.logLedger.forget(id)
    return []
  }
  const current = files.find(file => file.path === log)?.size ?? 0
  engine.logLedger.set(id, { rotated: sum(files) - current, current })
  return files
}

/** A monitor told that the current file has grown. */
export const logGrown = (engine: Engine, container: Container, size: number): void => {
  if (container.removing) return
  engine.logLedger.set(container.id, { current: size })
  holdBudget(engine)
}

/** The log was rotated: its few files are looked at, and once more if that happened again meanwhile. */
export const logRotated = (engine: Engine, container: Container): void => {
  countAnew(engine, container)
  compressRotated(engine, container)
}

/** Compresses what waits for it. Returns at once. */
export const compressRotated = (engine: Engine, container: Container): void =>
  beginCompression(engine, container, () => countAnew(engine, container))

const countAnew = (engine: Engine, { id }: Container): void => {
  const { recounting } = engine.logLedger
  const running = recounting.has(id)
  recounting.set(id, running)
  if (!running)
    void recount(engine, id).catch(error =>
      engine.log.error('a log could not be counted', { container: id, error: messageOf(error) }),
    )
}

const recount = async (engine: Engine, id: string): Promise<void> => {
  const { recounting } = engine.logLedger
  try {
    do {
      recounting.set(id, false)
      await look(engine, id)
    } while (recounting.get(id))
  } finally {
    recounting.delete(id)
  }
  holdBudget(engine)
}

/** The run has ended: its last lines count, too. */
export const logEnded = (engine: Engine, container: Container): void => {
  const { id } = container
  const size = statSync(fileOf(engine, id), { throwIfNoEntry: false })?.size ?? 0
  engine.logLedger.set(id, { current: size })
  holdBudget(engine)
  compressRotated(engine, container)
}

/** Counts what earlier daemons left, and holds it below the budget. Runs beside the API. */
export const countLogs = async (engine: Engine): Promise<void> => {
  const gate = new Gate(8)
  await Promise.all(
    engine.containers.all().map(container =>
      gate.run(async () => {
        await rm(trimLeftover(fileOf(engine, container.id)), { force: true })
        await look(engine, container.id)
        compressRotated(engine, container)
      }),
    ),
  )
  holdBudget(engine)
}

/** Makes room where the budget has been passed. Returns at once. */
export const holdBudget = (engine: Engine): void => {
  const { logLedger: ledger, settings } = engine
  if (settings.logLimits.budget === 0 || ledger.total <= settings.logLimits.budget) {
    ledger.isHelpless = false
    return
  }
  if (ledger.isHolding) return
  ledger.isHolding = true
  void makeRoom(engine)
    .catch(error => engine.log.error('logs could not be held below log-budget', { error: messageOf(error) }))
    .finally(() => {
      ledger.isHolding = false
    })
}

/** Room for some time, so that it is not made for every line. */
const targetOf = (engine: Engine): number => Math.floor((engine.settings.logLimits.budget * 15) / 16)

const makeRoom = async (engine: Engine): Promise<void> => {
  const { logLedger: ledger } = engine
  const target = targetOf(engine)
  const taken = new Map<string, number>()
  for (const ways of [[removeOldest], [removeOldest, shortenOldest, rotateCurrent]]) {
    const spent = new Set<string>()
    for (;;) {
      const id = ledger.total > target ? ledger.largest(spent) : undefined
      if (id === undefined || ledger.of(id) <= spared) break
      const freed = await giveWay(engine, id, ways)
      if (freed === undefined) spent.add(id)
      else taken.set(id, (taken.get(id) ?? 0) + freed)
    }
  }
  tell(engine, taken)
}

/** Gives the bytes that it freed; undefined where it cannot be gone. */
type Way = (engine: Engine, id: string, files: readonly MeasuredLogFile[]) => Promise<number | undefined>

/** The first way that can be gone. Undefined where this log has nothing more to give. */
const giveWay = async (engine: Engine, id: string, ways: readonly Way[]): Promise<number | undefined> => {
  for (const way of ways)
    try {
      const freed = await way(engine, id, await look(engine, id))
      if (freed === undefined) continue
      await look(engine, id)
      return freed
    } catch (error) {
      // Its own rotation took the file, or it was removed.
      if (!hasCode(error, 'ENOENT'))
        engine.log.warn('a log could not be shortened', { container: id, error: messageOf(error) })
    }
  return undefined
}

const removeOldest: Way = async (engine, id, [oldest, ...later]) => {
  if (!oldest || oldest.path === fileOf(engine, id) || sum(later) < kept) return undefined
  await swapLogFiles(async () => {
    // A death may have left it in both forms.
    if (!oldest.isCompressed) await rm(compressedName(oldest.path), { force: true })
    await rm(oldest.path)
  })
  failpoint('logs.removed')
  return oldest.size
}

const shortenOldest: Way = async (engine, id, [oldest, ...later]) => {
  const log = fileOf(engine, id)
  if (!oldest || oldest.path === log) return undefined
  const needed = oldest.size - (engine.logLedger.total - targetOf(engine))
  const keep = Math.max(kept - sum(later), Math.min(needed, copyMax))
  if (oldest.size - keep < crumb) return undefined
  return (await trimFile(log, oldest, keep)) ? oldest.size - keep : undefined
}

/** Nothing is freed by this, but what is rotated can be shortened. */
const rotateCurrent: Way = async (engine, id, files) => {
  const current = files.at(-1)
  const container = engine.containers.byId(id)
  if (!container || current?.path !== fileOf(engine, id) || current.size < spared) return undefined
  const rotated = container.isAlive ? await rotateLive(container) : await rotateEnded(engine, container)
  failpoint('logs.rotated')
  return rotated ? 0 : undefined
}

/** Errors: `unavailable` where its monitor does not answer: other logs must not wait for that. */
const rotateLive = async ({ monitor }: Container): Promise<boolean> => {
  // An older one would keep nothing of a log of one file.
  if (!monitor?.tellsGrowth) return false
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(unavailable('its monitor did not answer')), rotationDeadline)
  try {
    await Promise.race([monitor.rotateLog(), late])
    return true
  } finally {
    clearTimeout(timer)
  }
}

/** As a monitor's first step of a rotation; the next one finds the number to go on with by this file. */
const rotateEnded = async (engine: Engine, container: Container): Promise<boolean> => {
  if (!container.queue.idle) return false
  return container.queue.run(async () => {
    const log = fileOf(engine, container.id)
    const current = (await listLogFiles(log)).at(-1)
    if (container.isAlive || current?.path !== log) return false
    await rename(log, `${log}.${current.sequence}`)
    compressRotated(engine, container)
    return true
  })
}

/** A line in the daemon's log, and an event of each container that lost something. */
const tell = (engine: Engine, taken: ReadonlyMap<string, number>): void => {
  const { logLedger: ledger, settings } = engine
  const { budget } = settings.logLimits
  const lost = [...taken].filter(([, bytes]) => bytes > 0)
  const bytes = lost.reduce((total, [, each]) => total + each, 0)
  ledger.dropped += bytes
  if (bytes > 0)
    engine.log.warn('all logs together had passed log-budget: the oldest output of the largest was dropped', {
      budget,
      bytes,
      containers: lost.map(([id]) => id.slice(0, 12)),
    })
  for (const [id, each] of lost) {
    const container = engine.containers.byId(id)
    if (container)
      containerEvent(engine, container, 'log_drop', {
        'berth.bytes': String(each),
        'berth.cause': 'log-budget',
      })
  }
  if (ledger.total <= budget || ledger.isHelpless) return
  ledger.isHelpless = true
  engine.log.warn('logs take more than log-budget, and what is left are the last lines of each container', {
    budget,
    bytes: ledger.total,
  })
}
