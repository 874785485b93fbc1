import { abandonable } from '../core/abort.ts'
import { badRequest } from '../core/errors.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/image.ts'
import { type BlobSource, readBlob } from './blob.ts'
import type { Ask, Endpoint } from './endpoint.ts'
import { failure, type Subject, troubleOf } from './failures.ts'
import { single } from './headers.ts'
import { accepted, readManifest, resolveByHead } from './manifest.ts'
import { inRounds } from './rounds.ts'
import { followPages, readPage } from './tags.ts'
import type { Answer, Timings } from './transport.ts'
import type { BlobOptions, Capability, ManifestAnswer, Repository } from './types.ts'
import { type Session, sessionOf, type Upload, uploadBlob } from './upload.ts'

/** The protocol's verbs for one repository, over the hosts that answer for its registry. */
export interface RepositoryOptions {
  registry: string
  path: string
  /** The hosts are found out at the first use. */
  endpoints: () => Promise<Endpoint[]>
  /** A host outside of all settings, as a descriptor's `urls` name one. */
  foreign: (url: URL) => Endpoint
  attempts: number
  timings: Timings
}

type Verb = Pick<Ask, 'scopes' | 'subject'>

/** Layers that registries may not hold: their descriptors say where they are. */
const isForeign = (mediaType: string): boolean => /foreign|nondistributable/.test(mediaType)

/** It comes from a document of the registry's, and becomes a part of an address. */
const checkDescriptor = ({ digest, size }: Descriptor): void => {
  if (!isDigest(digest) || !Number.isSafeInteger(size) || size < 0)
    throw badRequest(
      `invalid descriptor of a blob: digest ${JSON.stringify(digest)}, size ${size}: want sha256: and 64 hex digits, and a number of bytes`,
    )
}

class RemoteRepository implements Repository {
  readonly #options: RepositoryOptions
  #found: Promise<Endpoint[]> | undefined
  /** Sessions that a refused mount left, to be used instead of new ones. */
  readonly #sessions = new Map<Digest, Session>()

  constructor(options: RepositoryOptions) {
    this.#options = options
  }

  async #hosts(capability: Capability, signal: AbortSignal): Promise<Endpoint[]> {
    this.#found ??= this.#options.endpoints()
    this.#found.catch(() => (this.#found = undefined))
    const able = (await abandonable(signal, this.#found)).filter(({ host }) =>
      host.capabilities.has(capability),
    )
    // What is pushed goes to one place: the first, whether spoken to with TLS or without.
    const address = (endpoint: Endpoint): string => new URL(endpoint.host.base).host
    const [first] = able
    return capability === 'push' && first ? able.filter(other => address(other) === address(first)) : able
  }

  #verb(action: Subject['action'], subject: Partial<Subject> = {}): Verb {
    const { registry, path } = this.#options
    const allowed = action === 'push' ? 'pull,push' : 'pull'
    return {
      scopes: [`repository:${path}:${allowed}`],
      subject: { registry, path, action, ...subject },
    }
  }

  async #ask<T>(
    capability: Capability,
    signal: AbortSignal,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const { attempts, timings } = this.#options
    return inRounds(await this.#hosts(capability, signal), work, { attempts, timings, signal })
  }

  #manifestAsk(reference: string, signal: AbortSignal): Ask {
    const target = `${this.#options.path}/manifests/${reference}`
    return { ...this.#verb('pull', { manifest: reference }), method: 'GET', target, signal }
  }

  #capabilityFor(reference: string): Capability {
    return isDigest(reference) ? 'pull' : 'resolve'
  }

  manifest(reference: string, signal: AbortSignal): Promise<ManifestAnswer> {
    const ask = this.#manifestAsk(reference, signal)
    return this.#ask(this.#capabilityFor(reference), signal, endpoint =>
      readManifest(endpoint, ask, reference),
    )
  }

  resolve(reference: string, signal: AbortSignal): Promise<Descriptor> {
    const ask = this.#manifestAsk(reference, signal)
    return this.#ask(this.#capabilityFor(reference), signal, async endpoint => {
      const known = await resolveByHead(endpoint, ask, reference)
      return known ?? (await readManifest(endpoint, ask, reference)).descriptor
    })
  }

  async *blob(descriptor: Descriptor, options: BlobOptions): AsyncGenerator<Uint8Array> {
    const { path, attempts, timings } = this.#options
    checkDescriptor(descriptor)
    const target = `${path}/blobs/${descriptor.digest}`
    const own: BlobSource[] = (await this.#hosts('pull', options.signal)).map(endpoint => ({
      endpoint,
      target,
    }))
    const urls = isForeign(descriptor.mediaType) ? (descriptor.urls ?? []) : []
    const foreign: BlobSource[] = urls
      .filter(url => /^https?:\/\//.test(url) && URL.canParse(url))
      .map(url => ({ endpoint: this.#options.foreign(new URL(url)), target: new URL(url) }))
    yield* readBlob({
      descriptor,
      offset: options.offset ?? 0,
      sources: [...own, ...foreign],
      ask: this.#verb('pull', { blob: descriptor.digest }),
      follower: options.follower,
      signal: options.signal,
      attempts,
      timings,
    })
  }

  tags(signal: AbortSignal): AsyncIterable<string> {
    let answering: Endpoint | undefined
    const ask = { ...this.#verb('pull'), method: 'GET' as const, signal }
    const target = `${this.#options.path}/tags/list`
    return followPages(
      () => answering as Endpoint,
      next =>
        this.#ask('resolve', signal, async endpoint => {
          // The pages of a list are one host's.
          if (next && answering && endpoint !== answering) endpoint = answering
          const page = await readPage(endpoint, { ...ask, target: next ?? target })
          answering = endpoint
          return page
        }),
    )
  }

  hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const target = `${this.#options.path}/blobs/${digest}`
    const ask: Ask = { ...this.#verb('push', { blob: digest }), method: 'HEAD', target, signal }
    return this.#has(ask, () => true)
  }

  hasManifest(digest: Digest, signal: AbortSignal, tag?: string): Promise<boolean> {
    const target = `${this.#options.path}/manifests/${tag ?? digest}`
    const verb = this.#verb('push', { manifest: tag ?? digest })
    const ask: Ask = { ...verb, method: 'HEAD', target, headers: { accept: accepted }, signal }
    return this.#has(ask, ({ headers }) => !tag || single(headers['docker-content-digest']) === digest)
  }

  #has(ask: Ask, isIt: (answer: Answer) => boolean): Promise<boolean> {
    return this.#ask('push', ask.signal, async endpoint => {
      const answer = await endpoint.ask(ask)
      if (answer.status !== 200 && answer.status !== 404) throw await endpoint.refuse(ask, answer)
      await answer.body.discard()
      return answer.status === 200 && isIt(answer)
    })
  }

  async mountBlob(digest: Digest, from: string, signal: AbortSignal): Promise<boolean> {
    const verb = this.#verb('push', { blob: digest })
    const query = new URLSearchParams({ mount: digest, from })
    const ask: Ask = {
      ...verb,
      scopes: [...verb.scopes, `repository:${from}:pull`],
      method: 'POST',
      target: `${this.#options.path}/blobs/uploads/?${query}`,
      headers: { 'content-length': '0' },
      signal,
    }
    return this.#ask('push', signal, async endpoint => {
      const answer = await endpoint.ask(ask)
      const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 429
      if (answer.status === 201 || answer.status === 202 || refused) {
        await answer.body.discard()
        if (answer.status === 202) this.#sessions.set(digest, sessionOf({ endpoint }, answer))
        // A repository that may not be read cannot be mounted from; whether this one may be written to shows later.
        return answer.status === 201
      }
      throw await endpoint.refuse(ask, answer)
    }).catch(error => {
      // The token server gives no token for both repositories.
      if (troubleOf(error).spoke && !troubleOf(error).transient) return false
      throw error
    })
  }

  async uploadBlob(
    descriptor: Descriptor,
    open: Upload['open'],
    options: { signal: AbortSignal; sent?: (bytes: number) => void } & Pick<BlobOptions, 'follower'>,
  ): Promise<void> {
    const { path, attempts, timings } = this.#options
    const { signal } = options
    const begun = this.#sessions.get(descriptor.digest)
    this.#sessions.delete(descriptor.digest)
    // Which way the host is spoken to is found out by a request without a body.
    const endpoint = await this.#ask('push', signal, async found => {
      if (found.spoke) return found
      const answer = await found.ask({ ...this.#verb('push'), method: 'GET', target: '', signal })
      await answer.body.discard()
      return found
    })
    const upload = {
      endpoint,
      descriptor,
      folder: `${path}/blobs/`,
      open,
      ask: this.#verb('push', { blob: descriptor.digest }),
      sent: options.sent,
      follower: options.follower,
      signal,
      attempts,
      timings,
    }
    await uploadBlob(upload, begun)
  }

  putManifest(reference: string, manifest: ManifestAnswer, signal: AbortSignal): Promise<void> {
    const { descriptor, bytes } = manifest
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes
    }
    const ask: Ask = {
      ...this.#verb('push', { manifest: reference }),
      method: 'PUT',
      target: `${this.#options.path}/manifests/${reference}`,
      headers: { 'content-type': descriptor.mediaType, 'content-length': String(bytes.length) },
      body,
      signal,
    }
    return this.#ask('push', signal, async endpoint => {
      const answer = await endpoint.expect(ask)
      await answer.body.discard()
      const stored = single(answer.headers['docker-content-digest']) ?? ''
      if (isDigest(stored) && stored !== descriptor.digest)
        throw failure(
          'digest-mismatch',
          500,
          `${endpoint.host.base} stored manifest ${descriptor.digest} as ${stored}`,
          { transient: false, spoke: true },
        )
    })
  }
}

export const remoteRepository = (options: RepositoryOptions): Repository => new RemoteRepository(options)
