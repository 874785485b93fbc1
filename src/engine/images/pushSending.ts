import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { Reference } from '../../oci/reference.ts'
import type { Repository } from '../../registry-client/types.ts'
import type { Engine } from '../engine.ts'
import { LayerProgress, type PullLine } from './pullProgress.ts'
import type { PushBlob } from './pushPlan.ts'
import { type MountSources, mountSources } from './pushRecords.ts'
import type { UploadResult, UploadState } from './pushUploads.ts'

export interface Destination {
  name: Reference
  repository: Repository
  /** Of the client: it ends everything. */
  signal: AbortSignal
  report: (line: PullLine) => void
}

/** The blobs of one push on their way, and what its client is told of them. Each goes once; the first failure ends all. */
export class Sending implements Disposable {
  readonly signal: AbortSignal
  readonly #engine: Engine
  readonly #to: Destination
  readonly #sources: MountSources
  readonly #stop = new AbortController()
  readonly #sent = new Map<Digest, Promise<UploadResult>>()
  readonly #lines = new Map<Digest, LayerProgress>()

  /** `root` is what is pushed. */
  constructor(engine: Engine, to: Destination, root: Digest) {
    this.#engine = engine
    this.#to = to
    this.#sources = mountSources(engine, to.name, root)
    this.signal = AbortSignal.any([to.signal, this.#stop.signal])
  }

  /** Says that there is such a layer. */
  prepare(layer: Descriptor): void {
    const line = new LayerProgress(layer, this.#to.report)
    this.#lines.set(layer.digest, line)
    line.say('Preparing')
  }

  lineOf(digest: Digest): LayerProgress | undefined {
    return this.#lines.get(digest)
  }

  /** To the client a layer is the same, compressed or not. */
  rename(plain: Digest, sent: Digest): void {
    const line = this.#lines.get(plain)
    if (line) this.#lines.set(sent, line)
  }

  /** Begins to send a blob before all of them are known; how it ends is told by `sendAll`. */
  begin(blob: PushBlob): void {
    this.#send(blob).catch(() => {})
  }

  /** False where one is neither here nor there. Errors: the first one. */
  async sendAll(blobs: readonly PushBlob[]): Promise<boolean> {
    const results = await Promise.allSettled(blobs.map(blob => this.#send(blob)))
    // The others end by the first one's error.
    this.signal.throwIfAborted()
    return !results.some(result => result.status === 'fulfilled' && result.value === 'missing')
  }

  #send(blob: PushBlob): Promise<UploadResult> {
    const { digest } = blob.descriptor
    const known = this.#sent.get(digest)
    if (known !== undefined) return known
    const sending = this.#deliver(blob).catch(error => {
      this.#stop.abort(error)
      throw error
    })
    this.#sent.set(digest, sending)
    return sending
  }

  async #deliver({ descriptor, here, isLayer }: PushBlob): Promise<UploadResult> {
    const { name, repository, report } = this.#to
    const line =
      this.#lines.get(descriptor.digest) ?? (isLayer ? new LayerProgress(descriptor, report) : undefined)
    const place = `${name.domain}/${name.path}`
    const result = await this.#engine.uploads.send(
      { repository, place, descriptor, source: this.#sources(descriptor.digest), here },
      state => line && tell(line, state, descriptor),
      this.signal,
    )
    if (result !== 'missing') line?.say(wordsOf(result))
    return result
  }

  /** Ends what is still under way. */
  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the push has ended'))
  }
}

const tell = (line: LayerProgress, state: UploadState, { size }: Descriptor): void => {
  if (state.stage === 'waiting') line.say('Waiting')
  else if (state.stage === 'pushing') line.bytes('Pushing', state.current, size)
  else line.retrying(state.pause)
}

const wordsOf = (result: Exclude<UploadResult, 'missing'>): string => {
  if (result === 'pushed') return 'Pushed'
  return result === 'exists' ? 'Layer already exists' : `Mounted from ${result.from}`
}
