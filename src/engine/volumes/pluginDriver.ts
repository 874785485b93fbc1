import { BerthError, hasCode, prefixed } from '../../core/errors.ts'
import type { CallOptions } from '../../plugins/types.ts'
import type { Engine } from '../engine.ts'

/** The calls of `VolumeDriver`. Errors: `plugin-not-found`, `plugin-unusable`, `plugin-unreachable`, `plugin-error`. */

/** Milliseconds: Docker's, and what may be waited for who only looks. */
const long = 120_000
const short = 60_000
const glance = 10_000

/** As a plugin tells of it. */
export interface PluginVolume {
  Name: string
  Mountpoint?: string
  /** RFC 3339. */
  CreatedAt?: string
  Status?: Record<string, unknown>
}

interface Request extends CallOptions {
  driver: string
  method: string
  args: object
}

const ask = async <T>(engine: Engine, { driver, method, args, ...how }: Request): Promise<T> => {
  let plugin: Awaited<ReturnType<typeof engine.plugins.get>>
  try {
    plugin = await engine.plugins.get(driver, 'VolumeDriver', how)
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
    throw prefixed(`error looking up volume plugin ${driver}`, error)
  }
  return await plugin.call<T>(`VolumeDriver.${method}`, args, how)
}

export const createIn = async (
  engine: Engine,
  driver: string,
  { name, options }: { name: string; options: Record<string, string> },
): Promise<void> => {
  const args = { Name: name, Opts: options }
  await ask(engine, { driver, method: 'Create', args, deadline: long, patient: true })
}

export const removeIn = async (engine: Engine, driver: string, name: string): Promise<void> => {
  await ask(engine, { driver, method: 'Remove', args: { Name: name }, deadline: short })
}

/** Gives the folder on the host that the volume is in now. */
export const mountIn = async (
  engine: Engine,
  driver: string,
  { name, id, signal }: { name: string; id: string; signal: AbortSignal },
): Promise<string> => {
  const args = { Name: name, ID: id }
  const { Mountpoint } = await ask<{ Mountpoint?: unknown }>(engine, {
    ...{ driver, method: 'Mount', args, signal, deadline: long, patient: true },
  })
  return typeof Mountpoint === 'string' ? Mountpoint : ''
}

export const unmountIn = async (
  engine: Engine,
  driver: string,
  { name, id }: { name: string; id: string },
): Promise<void> => {
  await ask(engine, { driver, method: 'Unmount', args: { Name: name, ID: id }, deadline: short })
}

/** Undefined where the plugin answers that it has none, in whatever words. */
export const getIn = async (
  engine: Engine,
  driver: string,
  name: string,
): Promise<PluginVolume | undefined> => {
  try {
    const { Volume } = await ask<{ Volume?: PluginVolume | null }>(engine, {
      ...{ driver, method: 'Get', args: { Name: name }, deadline: glance },
    })
    return Volume ?? undefined
  } catch (error) {
    if (hasCode(error, 'plugin-error')) return undefined
    throw error
  }
}

export const listIn = async (engine: Engine, driver: string): Promise<PluginVolume[]> => {
  const { Volumes } = await ask<{ Volumes?: unknown }>(engine, {
    ...{ driver, method: 'List', args: {}, deadline: glance },
  })
  return Array.isArray(Volumes) ? (Volumes as PluginVolume[]).filter(volume => volume?.Name) : []
}

/** What a plugin says of itself is optional; without it its volumes are this host's. */
export const scopeIn = async (engine: Engine, driver: string): Promise<'local' | 'global'> => {
  try {
    const { Capabilities } = await ask<{ Capabilities?: { Scope?: unknown } }>(engine, {
      ...{ driver, method: 'Capabilities', args: {}, deadline: glance },
    })
    return String(Capabilities?.Scope).toLowerCase() === 'global' ? 'global' : 'local'
  } catch {
    return 'local'
  }
}
