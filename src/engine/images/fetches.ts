import { hasCode } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { Gate } from '../../core/queue.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { ImageSource } from '../../registry-client/types.ts'
import type { Database } from '../../store/database.ts'
import type { ArrivingLayer, ContentStore, LayerStore } from '../../store/types.ts'
import { noteFetched } from './fetched.ts'

/**
 * Blobs on their way from registries, shared by all pulls: who wants one that
 * is under way joins it, and it ends when the last of them leaves. What came of
 * it stays for the next time.
 */

export type FetchState =
  | { stage: 'waiting' }
  | { stage: 'verifying' }
  | { stage: 'complete' }
  | { stage: 'downloading'; current: number }
  | { stage: 'retrying'; pause: number }

export type FetchListener = (state: FetchState) => void

/** One user's part in a fetch; to be disposed of when the blob is in an image, or is not wanted any more. */
export interface Fetching extends Disposable {
  /** This user began it. */
  own: boolean
  /** Settles when the blob is stored. */
  stored: Promise<void>
  /** It, unpacked while it comes in; to be asked when it is stored. */
  readonly arriving: ArrivingLayer
}

interface Fetch {
  repository: ImageSource
  descriptor: Descriptor
  listeners: Map<object, FetchListener>
  /** What a later listener is told first. */
  last: FetchState | undefined
  stop: AbortController
  arriving: ArrivingLayer
  stored: Promise<void>
}

interface FetchNeeds {
  content: ContentStore
  layers: LayerStore
  database: Database
  /** So many come at a time. */
  width: number
}

export class Fetches {
  readonly #needs: FetchNeeds
  readonly #gate: Gate
  readonly #underWay = new Map<Digest, Fetch>()
  /** The latest fetch of each, until it has let go of its file. */
  readonly #ending = new Map<Digest, Promise<void>>()
  readonly #holds = new Map<Digest, number>()

  constructor(needs: FetchNeeds) {
    this.#needs = needs
    this.#gate = new Gate(needs.width)
  }

  /** So many come at a time from now on. */
  set width(width: number) {
    this.#gate.width = width
  }

  /** Keeps a blob, there or not, from being removed as one that no image names. */
  hold(digest: Digest): Disposable {
    this.#holds.set(digest, (this.#holds.get(digest) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        const left = (this.#holds.get(digest) ?? 1) - 1
        if (left === 0) this.#holds.delete(digest)
        else this.#holds.set(digest, left)
      },
    }
  }

  isHeld(digest: Digest): boolean {
    return this.#holds.has(digest)
  }

  /** Settles when those that everybody has left have let go of their files. */
  async left(): Promise<void> {
    const left = [...this.#ending].filter(([digest]) => !this.#underWay.has(digest))
    await Promise.all(left.map(([, ended]) => ended))
  }

  /** Begins to fetch a blob that is not there, or joins who does. */
  join(repository: ImageSource, descriptor: Descriptor, listener: FetchListener): Fetching {
    const joined = this.#underWay.get(descriptor.digest)
    const fetch = joined ?? this.#begin(repository, descriptor)
    const key = {}
    fetch.listeners.set(key, listener)
    if (fetch.last) listener(fetch.last)
    return {
      own: joined === undefined,
      stored: fetch.stored,
      get arriving() {
        return fetch.arriving
      },
      [Symbol.dispose]: () => {
        if (fetch.listeners.delete(key) && fetch.listeners.size === 0) this.#end(fetch)
      },
    }
  }

  #begin(repository: ImageSource, descriptor: Descriptor): Fetch {
    const stop = new AbortController()
    const fetch: Fetch = {
      repository,
      descriptor,
      listeners: new Map(),
      last: undefined,
      stop,
      arriving: this.#follow(descriptor, stop),
      stored: Promise.resolve(),
    }
    this.#underWay.set(descriptor.digest, fetch)
    fetch.stored = this.#run(fetch).catch(error => {
      // Whoever comes now starts anew.
      this.#forget(fetch)
      throw error
    })
    // Each user hears of it; one that has left does not.
    fetch.stored.catch(() => {})
    return fetch
  }

  #follow({ size }: Descriptor, { signal }: AbortController): ArrivingLayer {
    return this.#needs.layers.follow({ size, signal })
  }

  async #run(fetch: Fetch): Promise<void> {
    const { digest } = fetch.descriptor
    const before = this.#ending.get(digest) ?? Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ending.set(digest, promise)
    try {
      // One that was left a moment ago may still hold the file.
      await before
      await this.#inTurn(fetch)
    } finally {
      resolve()
      if (this.#ending.get(digest) === promise) this.#ending.delete(digest)
    }
  }

  #forget(fetch: Fetch): void {
    const { digest } = fetch.descriptor
    if (this.#underWay.get(digest) === fetch) this.#underWay.delete(digest)
  }

  #end(fetch: Fetch): void {
    this.#forget(fetch)
    fetch.stop.abort()
    fetch.arriving[Symbol.dispose]()
  }

  async #inTurn(fetch: Fetch): Promise<void> {
    let begun = false
    const turn = this.#gate.run(async () => {
      begun = true
      await this.#store(fetch)
    }, fetch.stop.signal)
    if (!begun) tell(fetch, { stage: 'waiting' })
    await turn
  }

  /** What an earlier attempt left may be wrong: then it is fetched from nothing, once. */
  async #store(fetch: Fetch): Promise<void> {
    for (;;) {
      const { resumed, error } = await this.#attempt(fetch)
      if (error === undefined) return
      if (!resumed || !hasCode(error, 'digest-mismatch')) throw error
      // What followed it has seen wrong bytes.
      fetch.arriving[Symbol.dispose]()
      fetch.arriving = this.#follow(fetch.descriptor, fetch.stop)
    }
  }

  async #attempt(fetch: Fetch): Promise<{ resumed: boolean; error?: unknown }> {
    const { descriptor, stop, arriving } = fetch
    await using partial = await this.#needs.content.partial({
      digest: descriptor.digest,
      size: descriptor.size,
    })
    const resumed = partial.offset > 0
    try {
      tell(fetch, { stage: 'downloading', current: partial.offset })
      if (partial.offset < descriptor.size)
        await partial.append(this.#bytes(fetch, partial.offset), {
          signal: stop.signal,
          follower: arriving,
        })
      tell(fetch, { stage: 'verifying' })
      await noteFetched(this.#needs.database, descriptor.digest)
      failpoint('pull.noted')
      await partial.finish()
      failpoint('pull.fetched')
      tell(fetch, { stage: 'complete' })
      return { resumed }
    } catch (error) {
      return { resumed, error }
    }
  }

  async *#bytes(fetch: Fetch, offset: number): AsyncGenerator<Uint8Array> {
    const { repository, descriptor, stop } = fetch
    let current = offset
    const source = repository.blob(descriptor, {
      offset,
      signal: stop.signal,
      follower: { retry: (_why, _bytes, pause) => tell(fetch, { stage: 'retrying', pause }) },
    })
    for await (const chunk of source) {
      current += chunk.length
      tell(fetch, { stage: 'downloading', current })
      yield chunk
    }
  }
}

const tell = (fetch: Fetch, state: FetchState): void => {
  fetch.last = state
  for (const listener of fetch.listeners.values()) listener(state)
}
