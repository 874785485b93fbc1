import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { hasCode, internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { mountIn, unmountIn } from './pluginDriver.ts'
import type { VolumeRecord } from './types.ts'

/**
 * What plugins have been asked to mount. Only a plugin knows its mounts, so each
 * is noted below exec-root before it is asked for, until the plugin has taken it
 * back: the notes go with a boot, as mounts do, and outlive a daemon.
 */
export interface PluginUse {
  driver: string
  name: string
  /** Of the container that uses it. */
  id: string
}

export class PluginUses {
  readonly #folder: string
  readonly #uses = new Map<string, PluginUse>()

  constructor(execRoot: string) {
    this.#folder = path.join(execRoot, 'volume-uses')
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    for (const file of readdirSync(this.#folder)) this.#load(file)
  }

  #load(file: string): void {
    const place = path.join(this.#folder, file)
    try {
      if (file.startsWith('.')) throw new Error('it has not got its name')
      this.#uses.set(file, JSON.parse(readFileSync(place, 'utf8')) as PluginUse)
    } catch {
      // One that was not written to its end was not acted on, or a power cut took what it stands for.
      rmSync(place, { force: true })
    }
  }

  #key({ driver, name, id }: PluginUse): string {
    return `${id}-${createHash('sha256').update(`${driver}\0${name}`).digest('hex').slice(0, 16)}`
  }

  note(use: PluginUse): void {
    const key = this.#key(use)
    if (this.#uses.has(key)) return
    const passing = path.join(this.#folder, `.${key}`)
    writeFileSync(passing, JSON.stringify(use))
    renameSync(passing, path.join(this.#folder, key))
    this.#uses.set(key, use)
  }

  has(use: PluginUse): boolean {
    return this.#uses.has(this.#key(use))
  }

  drop(use: PluginUse): void {
    this.#uses.delete(this.#key(use))
    rmSync(path.join(this.#folder, this.#key(use)), { force: true })
  }

  all(): PluginUse[] {
    return [...this.#uses.values()]
  }
}

/** Milliseconds that the end of a run waits for a plugin, which then goes on unheard. */
const patience = 10_000

/** Asks the plugin to mount it. The caller holds its name. Errors: `internal` in Docker's words. */
export const mountUse = async (
  engine: Engine,
  { name, driver }: VolumeRecord & { driver: string },
  { id, operation }: { id: string; operation: Operation },
): Promise<string> => {
  const use = { driver, name, id }
  engine.pluginUses.note(use)
  failpoint('volume.plugin.noted')
  operation.at(`waiting for the plugin ${driver}, which mounts the volume ${name}`)
  try {
    const mountpoint = await mountIn(engine, driver, { name, id, signal: operation.signal })
    failpoint('volume.plugin.mounted')
    if (!path.isAbsolute(mountpoint))
      throw internal(`the plugin ${driver} gave no absolute path: ${JSON.stringify(mountpoint)}`)
    return mountpoint
  } catch (error) {
    // A plugin that was not asked, or says that it failed, has nothing mounted.
    const codes = ['plugin-not-found', 'plugin-unusable', 'plugin-error']
    if (codes.some(code => hasCode(error, code))) engine.pluginUses.drop(use)
    else void endUse(engine, use)
    if (operation.signal.aborted) throw error
    throw internal(`error while mounting volume '${name}': ${messageOf(error)}`, error)
  }
}

/** As `endUse`, for a caller that holds the volume's name. */
export const endUseHeld = async (engine: Engine, use: PluginUse): Promise<void> => {
  if (!engine.pluginUses.has(use)) return
  try {
    await unmountIn(engine, use.driver, use)
    failpoint('volume.plugin.unmounted')
    engine.pluginUses.drop(use)
  } catch (error) {
    // What it refuses now it would refuse again; one that is not there may be so later.
    if (hasCode(error, 'plugin-error')) engine.pluginUses.drop(use)
    engine.log.warn('a plugin did not unmount a volume', { ...use, error: messageOf(error) })
  }
}

/** Has the plugin unmount it, in the volume's turn. Never fails: a use that could not be ended stays noted, and is ended by who comes next. */
export const endUse = (engine: Engine, use: PluginUse): Promise<void> =>
  engine.volumes.exclusively([use.name], () => endUseHeld(engine, use))

/** Ends all that these containers use; settles when it is done or has taken too long. */
export const endUsesOf = async (engine: Engine, isOver: (id: string) => boolean): Promise<void> => {
  const over = engine.pluginUses.all().filter(({ id }) => isOver(id))
  if (over.length === 0) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, patience)
  await Promise.race([Promise.all(over.map(use => endUse(engine, use))), promise])
  clearTimeout(timer)
}
