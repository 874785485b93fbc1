import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { writeTar } from '../../src/archive/writer.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/image.ts'
import { architectureOf } from '../../src/oci/platform.ts'
import {
  type Fault,
  startRegistry,
  type TestRegistry,
  type TestRegistryOptions,
} from '../../src/registry-client/testing/registry.ts'
import { busyboxLayer, file } from './images.ts'

/** An image of busybox, with a file `/which` that tells them apart, and as many bytes of a further layer that do not compress. */
export interface ServedImage {
  repository: string
  tag: string
  which: string
  bytes?: number
  /** This host's unless told. */
  architecture?: string
  labels?: Record<string, string>
  mediaType?: string
  /** How layers are packed; by gzip unless told. `foreign` ones are told to lie in the repository `elsewhere`. */
  packing?: 'gzip' | 'zstd' | 'none' | 'foreign'
  /** As many bytes of a further layer that compress to nearly nothing. */
  zeros?: number
  /** Its configuration names other layers. */
  mistaken?: boolean
}

type Command =
  | { op: 'image'; image: ServedImage }
  | { op: 'index'; repository: string; tag: string; images: ServedImage[] }
  | { op: 'fault'; url: string; times: number; fault: Omit<Fault, 'body'> & { body?: string } }
  | { op: 'well' }
  | { op: 'seen' }
  | { op: 'manifest'; repository: string; reference: string }
  | { op: 'forget'; digest: string }
  | { op: 'mounts'; refused: boolean }
  | { op: 'sessions' }
  | { op: 'searchable'; results: object[] }

export interface StoredManifest {
  type: string
  digest: string
  text: string
}

/** What was asked for: `GET /v2/…`, with the range where one was. */
export type Asked = string

/** A registry of tests, in a process of its own within a network namespace. */
export class ImageRegistry implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #answers: ((text: string) => void)[] = []
  address = ''

  private constructor(namespace: string, options: TestRegistryOptions) {
    const program = [process.execPath, import.meta.filename, JSON.stringify(options)]
    this.#child = spawn('nsenter', [`--net=${namespace}`, ...program])
    this.#child.stderr.pipe(process.stderr)
    createInterface(this.#child.stdout).on('line', line => this.#answers.shift()?.(line))
  }

  static async start(namespace: string, options: TestRegistryOptions = {}): Promise<ImageRegistry> {
    const registry = new ImageRegistry(namespace, options)
    registry.address = await registry.#next<string>()
    return registry
  }

  /** Gives the digests of its manifest and of its blobs. */
  serve(image: ServedImage): Promise<{ digest: string; config: string; layers: string[] }> {
    return this.#ask({ op: 'image', image })
  }

  /** Gives the digest of the index. */
  serveIndex(repository: string, tag: string, images: ServedImage[]): Promise<string> {
    return this.#ask({ op: 'index', repository, tag, images })
  }

  /** What a repository has under a tag or digest. */
  manifest(repository: string, reference: string): Promise<StoredManifest | undefined> {
    return this.#ask<StoredManifest | null>({ op: 'manifest', repository, reference }).then(
      found => found ?? undefined,
    )
  }

  /** Loses a blob. */
  forget(digest: string): Promise<string> {
    return this.#ask({ op: 'forget', digest })
  }

  /** Whether mounts are refused from now on. */
  refuseMounts(refused: boolean): Promise<string> {
    return this.#ask({ op: 'mounts', refused })
  }

  /** What it finds from now on. */
  searchable(results: object[]): Promise<string> {
    return this.#ask({ op: 'searchable', results })
  }

  /** Uploads that were begun and neither ended nor given up. */
  sessions(): Promise<number> {
    return this.#ask({ op: 'sessions' })
  }

  /** What goes wrong with the next `times` requests whose method and address match: `PUT /v2/…`. */
  fault(url: RegExp, fault: Fault, times = 1): Promise<string> {
    const { body, ...rest } = fault
    const packed = body ? { body: body.toString('base64') } : {}
    return this.#ask({ op: 'fault', url: url.source, fault: { ...rest, ...packed }, times })
  }

  /** Nothing goes wrong any more. */
  wellAgain(): Promise<string> {
    return this.#ask({ op: 'well' })
  }

  /** Everything that was asked for since the last time. */
  seen(): Promise<Asked[]> {
    return this.#ask({ op: 'seen' })
  }

  async #ask<T>(command: Command): Promise<T> {
    const answer = this.#next<T>()
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    return await answer
  }

  #next<T>(): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const ended = (): void => reject(new Error('the registry of the tests has ended'))
    this.#child.once('close', ended)
    this.#answers.push(line => {
      this.#child.off('close', ended)
      resolve(JSON.parse(line) as T)
    })
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise(resolve => this.#child.once('close', resolve))
    this.#child.stdin.end()
    await ended
  }
}

/** The same for the same seed, and nothing that compresses. */
const noise = (seed: string, size: number): Buffer => {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

const tarOf = async (members: Parameters<typeof writeTar>[0]): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(writeTar(members)))

const packed = (registry: TestRegistry, tar: Buffer, packing: NonNullable<ServedImage['packing']>) => {
  if (packing === 'none') return { ...registry.addBlob(tar), mediaType: mediaTypes.ociLayer }
  if (packing === 'zstd')
    return { ...registry.addBlob(zstdCompressSync(tar)), mediaType: mediaTypes.ociLayerZstd }
  const blob = registry.addBlob(gzipSync(tar, { level: 1 }))
  if (packing === 'gzip') return blob
  const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  return { ...blob, mediaType, urls: [`${registry.base}/v2/elsewhere/blobs/${blob.digest}`] }
}

const addImage = async (registry: TestRegistry, image: ServedImage) => {
  const architecture = image.architecture ?? architectureOf(process.arch)
  const tars = [
    await tarOf(busyboxLayer()),
    await tarOf([file('which', image.which)]),
    ...(image.bytes ? [await tarOf([file('noise', noise(image.which, image.bytes))])] : []),
    ...(image.zeros ? [await tarOf([file('zeros', Buffer.alloc(image.zeros))])] : []),
  ]
  const layers = tars.map(tar => packed(registry, tar, image.packing ?? 'gzip'))
  const config = registry.addBlob(
    Buffer.from(
      JSON.stringify({
        architecture,
        os: 'linux',
        created: '2026-01-02T03:04:05Z',
        config: { Env: ['PATH=/bin'], Cmd: ['sh'], Labels: image.labels ?? {} },
        rootfs: { type: 'layers', diff_ids: tars.map(tar => digestOf(image.mistaken ? gzipSync(tar) : tar)) },
      }),
    ),
  )
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { ...config, mediaType: image.mediaType ?? mediaTypes.ociConfig },
    layers,
  }
  for (const blob of [config, ...layers]) registry.uploads.own(image.repository, blob.digest)
  const digest = registry.addManifest(image.repository, image.tag, manifest)
  const size = Buffer.byteLength(JSON.stringify(manifest))
  return {
    descriptor: { mediaType: mediaTypes.ociManifest, digest, size, platform: { architecture, os: 'linux' } },
    digests: { digest, config: config.digest, layers: layers.map(layer => layer.digest) },
  }
}

const serve = async (options: TestRegistryOptions): Promise<void> => {
  const registry = await startRegistry({ page: 2, ...options })
  const faults: { url: RegExp; times: number; fault: Fault }[] = []
  let told = 0
  registry.fault(({ method, url }) => {
    const hit = faults.find(entry => entry.times > 0 && entry.url.test(`${method} ${url}`))
    if (hit) hit.times--
    return hit?.fault
  })
  const handle = async (command: Command): Promise<unknown> => {
    if (command.op === 'image') return (await addImage(registry, command.image)).digests
    if (command.op === 'index') {
      const manifests = []
      for (const image of command.images) manifests.push((await addImage(registry, image)).descriptor)
      const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
      return registry.addManifest(command.repository, command.tag, index, mediaTypes.ociIndex)
    }
    if (command.op === 'fault') {
      const { url, times, fault: packed } = command
      const { body, ...rest } = packed
      const fault = { ...rest, ...(body === undefined ? {} : { body: Buffer.from(body, 'base64') }) }
      faults.push({ url: new RegExp(url), times, fault })
      return 'ok'
    }
    if (command.op === 'well') {
      faults.length = 0
      return 'ok'
    }
    if (command.op === 'manifest') {
      const found = registry.manifests.get(`${command.repository}:${command.reference}`)
      return found ? { type: found.type, digest: digestOf(found.bytes), text: found.bytes.toString() } : null
    }
    if (command.op === 'forget') {
      registry.blobs.delete(command.digest)
      return 'ok'
    }
    if (command.op === 'mounts') {
      registry.uploads.mountsRefused = command.refused
      return 'ok'
    }
    if (command.op === 'searchable') {
      registry.searchable.push(...command.results)
      return 'ok'
    }
    if (command.op === 'sessions') return registry.uploads.sessions.size
    const fresh = registry.seen.slice(told)
    told = registry.seen.length
    return fresh.map(({ method, url, headers }) =>
      [method, url, headers.range ?? ''].filter(Boolean).join(' '),
    )
  }
  const say = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`)
  say(registry.address)
  for await (const line of createInterface(process.stdin)) say(await handle(JSON.parse(line) as Command))
  process.exit()
}

if (import.meta.main) await serve(JSON.parse(process.argv[2] ?? '{}') as TestRegistryOptions)
