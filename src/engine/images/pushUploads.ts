import { abandonable } from '../../core/abort.ts'
import { Gate, SerialQueue } from '../../core/queue.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { Repository } from '../../registry-client/types.ts'
import type { ContentStore } from '../../store/types.ts'

/**
 * Blobs on their way to registries, shared by all pushes: who wants one that
 * goes to the same repository already joins it, and it ends when the last of
 * them leaves.
 */

/** How a blob came to be there, or that it is neither there nor here. */
export type UploadResult = 'exists' | 'pushed' | 'missing' | { from: string }

export type UploadState =
  | { stage: 'waiting' }
  | { stage: 'pushing'; current: number }
  | { stage: 'retrying'; pause: number }

export type UploadListener = (state: UploadState) => void

export interface UploadBlob {
  repository: Repository
  /** The repository's whole name: `docker.io/library/busybox`. */
  place: string
  descriptor: Descriptor
  /** Another repository of the same registry that has it; empty where none is known. */
  source: string
  /** False where the store has it not: then the registry must have it already. */
  here: boolean
}

interface Upload {
  blob: UploadBlob
  listeners: Map<object, UploadListener>
  /** What a later listener is told first. */
  last: UploadState | undefined
  stop: AbortController
  done: Promise<UploadResult>
}

export class Uploads {
  readonly #content: ContentStore
  readonly #gate: Gate
  readonly #underWay = new Map<string, Upload>()
  readonly #preparing = new Map<Digest, { queue: SerialQueue; users: number }>()

  /** `width` go at a time. */
  constructor(content: ContentStore, width: number) {
    this.#content = content
    this.#gate = new Gate(width)
  }

  /** So many go at a time from now on. */
  set width(width: number) {
    this.#gate.width = width
  }

  /**
   * Sends a blob, or waits for who does. Another client's may fail by what is that client's, its credentials: then ours
   * begins. Errors: the registry's, and the signal's reason.
   */
  async send(blob: UploadBlob, listener: UploadListener, signal: AbortSignal): Promise<UploadResult> {
    for (;;) {
      signal.throwIfAborted()
      const key = `${blob.place} ${blob.descriptor.digest}`
      const joined = this.#underWay.get(key)
      const upload = joined ?? this.#begin(key, blob)
      using _listening = this.#listen(key, upload, listener)
      try {
        return await abandonable(signal, upload.done)
      } catch (error) {
        if (!joined || signal.aborted) throw error
      }
    }
  }

  /** What is prepared of one image for several pushes is so once: who comes second finds it done. */
  async alone<T>(image: Digest, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const place = this.#preparing.get(image) ?? { queue: new SerialQueue(), users: 0 }
    this.#preparing.set(image, place)
    place.users++
    try {
      return await place.queue.run(work, signal)
    } finally {
      place.users--
      if (place.users === 0) this.#preparing.delete(image)
    }
  }

  #listen(key: string, upload: Upload, listener: UploadListener): Disposable {
    const place = {}
    upload.listeners.set(place, listener)
    if (upload.last) listener(upload.last)
    return {
      [Symbol.dispose]: () => {
        upload.listeners.delete(place)
        if (upload.listeners.size > 0) return
        this.#forget(key, upload)
        upload.stop.abort()
      },
    }
  }

  #forget(key: string, upload: Upload): void {
    if (this.#underWay.get(key) === upload) this.#underWay.delete(key)
  }

  #begin(key: string, blob: UploadBlob): Upload {
    const stop = new AbortController()
    const upload: Upload = {
      blob,
      listeners: new Map(),
      last: undefined,
      stop,
      done: Promise.resolve('missing'),
    }
    this.#underWay.set(key, upload)
    // Whoever comes later asks the registry anew.
    upload.done = this.#inTurn(upload).finally(() => this.#forget(key, upload))
    // Each user hears of it; one that has left does not.
    upload.done.catch(() => {})
    return upload
  }

  async #inTurn(upload: Upload): Promise<UploadResult> {
    let begun = false
    const turn = this.#gate.run(() => {
      begun = true
      return this.#bring(upload)
    }, upload.stop.signal)
    if (!begun) tell(upload, { stage: 'waiting' })
    return await turn
  }

  async #bring(upload: Upload): Promise<UploadResult> {
    const { repository, descriptor, source, here } = upload.blob
    const { signal } = upload.stop
    if (await repository.hasBlob(descriptor.digest, signal)) return 'exists'
    if (source !== '' && (await repository.mountBlob(descriptor.digest, source, signal)))
      return { from: source }
    if (!here) return 'missing'
    tell(upload, { stage: 'pushing', current: 0 })
    await repository.uploadBlob(descriptor, start => this.#content.open(descriptor.digest, { start }), {
      signal,
      sent: current => tell(upload, { stage: 'pushing', current }),
      follower: { retry: (_why, _bytes, pause) => tell(upload, { stage: 'retrying', pause }) },
    })
    return 'pushed'
  }
}

const tell = (upload: Upload, state: UploadState): void => {
  upload.last = state
  for (const listener of upload.listeners.values()) listener(state)
}
