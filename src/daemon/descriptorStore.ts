import { hasCode, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { connectHolder } from '../runtime/holder.ts'
import type { HolderClient } from '../runtime/types.ts'

interface StoreOptions {
  binary: string
  /** Control groups that the store enters. */
  groups: readonly string[]
  log: Log
}

/** Puts into a new store what the lost one held. */
type Refill = (client: HolderClient) => void | Promise<void>

/**
 * The connection to the descriptor store for this daemon's life. A store that
 * is lost is replaced, and all that this daemon has is put there again.
 */
export class DescriptorStore {
  readonly #execRoot: string
  readonly #options: StoreOptions
  readonly #refills: Refill[] = []
  #client: HolderClient
  /** Settles when the store that replaces a lost one has been filled. */
  #replacing: Promise<HolderClient> | undefined

  private constructor(execRoot: string, options: StoreOptions, client: HolderClient) {
    this.#execRoot = execRoot
    this.#options = options
    this.#client = client
  }

  static async open(execRoot: string, options: StoreOptions): Promise<DescriptorStore> {
    const lost = { tell: () => {} }
    const client = await connectHolder(execRoot, { ...options, onLost: () => lost.tell() })
    const store = new DescriptorStore(execRoot, options, client)
    lost.tell = () => store.#lost(client)
    return store
  }

  /** The store as it is now; one that has just been lost throws `unavailable` when it is used. */
  get client(): HolderClient {
    return this.#client
  }

  /** Called with each store that replaces a lost one. */
  onReplaced(refill: Refill): void {
    this.#refills.push(refill)
  }

  /** Uses the store; once more with its successor where it is lost meanwhile. */
  async use<T>(task: (client: HolderClient) => T): Promise<T> {
    const client = this.#client
    try {
      return task(client)
    } catch (error) {
      if (!hasCode(error, 'unavailable')) throw error
      return task(await this.#replace(client))
    }
  }

  #lost(client: HolderClient): void {
    this.#replace(client).catch(error => {
      this.#options.log.error('the descriptor store was lost and cannot be replaced', {
        error: messageOf(error),
      })
    })
  }

  #replace(client: HolderClient): Promise<HolderClient> {
    if (client !== this.#client) return Promise.resolve(this.#client)
    this.#replacing ??= this.#open(client).finally(() => {
      this.#replacing = undefined
    })
    return this.#replacing
  }

  async #open(before: HolderClient): Promise<HolderClient> {
    before.close()
    const lost = { tell: () => {} }
    const client = await connectHolder(this.#execRoot, {
      ...this.#options,
      onLost: () => lost.tell(),
    })
    lost.tell = () => this.#lost(client)
    this.#client = client
    for (const refill of this.#refills) await refill(client)
    this.#options.log.warn('the descriptor store was lost; another one holds the same again', {
      pid: client.pid,
    })
    return client
  }
}
