import { BerthError, messageOf } from '../core/errors.ts'
import { PluginClient } from './client.ts'
import { findPlugin, isFound, pluginNames } from './discovery.ts'
import type { CallOptions, Plugin, PluginFolders, PluginKind } from './types.ts'

/** Docker's folders. */
export const defaultFolders: PluginFolders = {
  sockets: '/run/docker/plugins',
  specs: ['/etc/docker/plugins', '/usr/lib/docker/plugins'],
}

/** Milliseconds that a plugin may take to tell what it implements, and where nobody is patient. */
const activation = { patient: 30_000, else: 10_000 }

interface Active {
  client: PluginClient
  /** The address it was activated at, as text. */
  address: string
  kinds: readonly string[]
}

/** Plugins by their names, activated when they are first asked for. */
export class Plugins implements Disposable {
  readonly #folders: PluginFolders
  readonly #active = new Map<string, Active>()
  readonly #activating = new Map<string, Promise<Active>>()

  constructor(folders: PluginFolders) {
    this.#folders = folders
  }

  /** Whether something stands for it; it may be dead. */
  has(name: string): boolean {
    return isFound(this.#folders, name)
  }

  /**
   * Errors in Docker's words: `plugin-not-found` where no file stands for it,
   * `plugin-unusable` where it cannot be activated or implements something else.
   */
  async get(name: string, kind: PluginKind, options: Omit<CallOptions, 'deadline'> = {}): Promise<Plugin> {
    let active: Active
    try {
      active = await this.#activated(name, options)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (error instanceof BerthError && error.code === 'plugin-not-found') throw error
      throw unusable(messageOf(error), error)
    }
    if (!active.kinds.includes(kind))
      throw unusable(
        `Plugin does not implement the requested driver: plugin=${JSON.stringify(name)}, requested implementation=${JSON.stringify(kind)}`,
      )
    return pluginOf(name, active)
  }

  /** All that implement it; those that do not answer are told of, and left out. */
  async all(kind: PluginKind, onError: (name: string, error: unknown) => void): Promise<Plugin[]> {
    return (await this.#implementing(kind, {}, onError)).map(([name, active]) => pluginOf(name, active))
  }

  /** Names of those that have been activated for this kind, sorted. */
  activeNames(kind: PluginKind): string[] {
    return [...this.#active].flatMap(([name, { kinds }]) => (kinds.includes(kind) ? [name] : [])).sort()
  }

  /** Names of all that something stands for and that implement it, sorted; without those that do not answer within so many milliseconds. */
  async names(kind: PluginKind, patience: number): Promise<string[]> {
    const signal = AbortSignal.timeout(patience)
    // Who uses one is told of its errors.
    return (await this.#implementing(kind, { signal }, () => {})).map(([name]) => name)
  }

  async #implementing(
    kind: PluginKind,
    options: Omit<CallOptions, 'deadline'>,
    onError: (name: string, error: unknown) => void,
  ): Promise<[name: string, active: Active][]> {
    const found = await Promise.all(
      pluginNames(this.#folders).map(async (name): Promise<[string, Active][]> => {
        try {
          const active = await this.#activated(name, options)
          return active.kinds.includes(kind) ? [[name, active]] : []
        } catch (error) {
          onError(name, error)
          return []
        }
      }),
    )
    return found.flat()
  }

  async #activated(name: string, options: Omit<CallOptions, 'deadline'>): Promise<Active> {
    const found = findPlugin(this.#folders, name)
    const active = this.#active.get(name)
    // One that is started anew is away for a moment, and comes back to the same place.
    if (!found && active) return active
    if (!found) {
      throw new BerthError('plugin-not-found', 404, `plugin ${JSON.stringify(name)} not found`)
    }
    const address = JSON.stringify(found)
    if (active?.address === address) return active
    this.#forget(name)
    const activating = this.#activating.get(name)
    // Who is in a hurry does not wait for one who is patient.
    if (activating && options.patient) return await activating
    const work = this.#activate(name, new PluginClient(found), address, options)
    this.#activating.set(name, work)
    try {
      return await work
    } finally {
      if (this.#activating.get(name) === work) this.#activating.delete(name)
    }
  }

  async #activate(
    name: string,
    client: PluginClient,
    address: string,
    options: Omit<CallOptions, 'deadline'>,
  ): Promise<Active> {
    try {
      const { Implements: kinds } = await client.call<{ Implements?: unknown }>(
        'Plugin.Activate',
        undefined,
        { ...options, deadline: activation[options.patient ? 'patient' : 'else'] },
      )
      const active = { client, address, kinds: Array.isArray(kinds) ? kinds.map(String) : [] }
      // Two in a hurry may have activated it at once.
      const other = this.#active.get(name)
      if (other?.address === address) {
        client[Symbol.dispose]()
        return other
      }
      this.#forget(name)
      this.#active.set(name, active)
      return active
    } catch (error) {
      client[Symbol.dispose]()
      throw error
    }
  }

  #forget(name: string): void {
    this.#active.get(name)?.client[Symbol.dispose]()
    this.#active.delete(name)
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#active.keys()]) this.#forget(name)
  }
}

const pluginOf = (name: string, { client }: Active): Plugin => ({
  name,
  call: (method, args, how) => client.call(method, args, how),
})

const unusable = (text: string, cause?: unknown): BerthError =>
  new BerthError('plugin-unusable', 500, `legacy plugin: ${text}`, { cause })
