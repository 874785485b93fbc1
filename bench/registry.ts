import { createHash } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { constants, createGzip } from 'node:zlib'
import { type OutgoingMember, writeTar } from '../src/archive/writer.ts'
import { type Digest, digestOf } from '../src/oci/digest.ts'
import { type Descriptor, mediaTypes } from '../src/oci/image.ts'
import { architectureOf } from '../src/oci/platform.ts'
import { createRegistryClient } from '../src/registry-client/client.ts'
import { type Distribution, startDistribution } from '../src/registry-client/testing/distribution.ts'
import type { Repository } from '../src/registry-client/types.ts'
import { projectRoot } from '../tests/harness/images.ts'

/** Debian's docker-registry with images for the rows; what it holds is made once and kept in `.cache/bench`. */

const cache = path.join(projectRoot, '.cache/bench')

/** Where each engine finds the registry, in its own network namespace. */
export const registryAddress = '127.0.0.1:5000'

/** An image of the registry: layers, bottom first, made only when they are needed. */
export interface RegistryImage {
  repository: string
  tag: string
  layers: (() => Iterable<OutgoingMember>)[]
}

const never = new AbortController().signal

/** Hashes what passes. */
const counted = async function* (
  source: AsyncIterable<Uint8Array>,
  into: { update(bytes: Uint8Array): void },
) {
  for await (const chunk of source) {
    into.update(chunk)
    yield chunk
  }
}

const putLayer = async (
  repository: Repository,
  folder: string,
  members: Iterable<OutgoingMember>,
): Promise<{ descriptor: Descriptor; diffId: Digest }> => {
  const file = path.join(folder, 'layer.tar.gz')
  const [plain, packed] = [createHash('sha256'), createHash('sha256')]
  await pipeline(
    counted(writeTar(members), plain),
    createGzip({ level: constants.Z_DEFAULT_COMPRESSION }),
    source => counted(source, packed),
    createWriteStream(file),
  )
  const digest: Digest = `sha256:${packed.digest('hex')}`
  const descriptor = { mediaType: mediaTypes.dockerLayerGzip, digest, size: statSync(file).size }
  await repository.uploadBlob(descriptor, offset => createReadStream(file, { start: offset }), {
    signal: never,
  })
  return { descriptor, diffId: `sha256:${plain.digest('hex')}` }
}

const putImage = async (repository: Repository, folder: string, image: RegistryImage): Promise<void> => {
  const layers: { descriptor: Descriptor; diffId: Digest }[] = []
  for (const layer of image.layers) layers.push(await putLayer(repository, folder, layer()))
  const text = Buffer.from(
    JSON.stringify({
      architecture: architectureOf(process.arch),
      os: 'linux',
      created: '2026-01-02T03:04:05Z',
      config: { Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  )
  const config = { mediaType: mediaTypes.dockerConfig, digest: digestOf(text), size: text.length }
  const whole = async function* (offset: number) {
    yield text.subarray(offset)
  }
  await repository.uploadBlob(config, whole, { signal: never })
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config,
      layers: layers.map(({ descriptor }) => descriptor),
    }),
  )
  const descriptor = { mediaType: mediaTypes.dockerManifest, digest: digestOf(bytes), size: bytes.length }
  await repository.putManifest(image.tag, { bytes, descriptor }, never)
}

/** The folder of a registry that holds these images. */
export const filledStorage = async (name: string, images: () => RegistryImage[]): Promise<string> => {
  const target = path.join(cache, `registry-${name}`)
  if (existsSync(target)) return target
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(path.join(cache, 'filling-'))
  const storage = path.join(folder, 'data')
  const client = createRegistryClient({
    mirrors: [],
    insecure: [],
    certificateFolders: [],
    proxies: { http: '', https: '', no: '' },
    attempts: 1,
    userAgent: 'berth/bench',
  })
  try {
    await using registry = await startDistribution({ storage })
    for (const image of images())
      await putImage(client.repository(registry.address, image.repository, undefined), folder, image)
    renameSync(storage, target)
  } finally {
    await client.close()
    rmSync(folder, { recursive: true, force: true })
  }
  return target
}

/** The registry in a network namespace. */
export const serveStorage = (namespace: string, storage: string): Promise<Distribution> =>
  startDistribution({ namespace, storage, address: registryAddress })
