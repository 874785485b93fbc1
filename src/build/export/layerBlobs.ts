import { Readable } from 'node:stream'
import { compress, decompress } from '../../archive/compression.ts'
import { notFound } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { LayerRef } from '../solver/types.ts'
import type { ExportedLayer } from './imageConfig.ts'
import type { ImageOptions, LayerCompression } from './options.ts'
import type { ExportStep, PlatformResult } from './types.ts'

/** Layers of a result as blobs of the store, compressed as an exporter was told. */

export interface LayerBlob {
  descriptor: Descriptor
  told: ExportedLayer
}

/** The media type of a layer. */
export const layerType = (compression: LayerCompression, isOci: boolean): string => {
  const suffix = compression === 'none' ? '' : `${isOci ? '+' : '.'}${compression}`
  return `${isOci ? 'application/vnd.oci.image.layer.v1.tar' : 'application/vnd.docker.image.rootfs.diff.tar'}${suffix}`
}

const compressionOf = (mediaType: string): LayerCompression =>
  mediaType.endsWith('gzip') ? 'gzip' : mediaType.endsWith('zstd') ? 'zstd' : 'none'

interface Making {
  step: ExportStep
  options: ImageOptions
  /** Blobs that nothing names yet. */
  brought: Digest[]
  /** It is for the store: results become layers of it where they are as they were made. */
  isKept?: boolean
  /** It goes to a registry: plain layers of base images are compressed for the way. */
  isPushed?: boolean
}

/** A plain blob of the store, compressed into another one. */
const compressed = async ({ step, options, brought }: Making, plain: BlobInfo): Promise<BlobInfo> => {
  const { engine, operation } = step
  const { signal } = operation
  const { compression, level } = options
  if (compression === 'none') return plain
  const file = { path: engine.content.path(plain.digest), ...(level === undefined ? {} : { level }) }
  const bytes =
    compression === 'gzip'
      ? engine.pool.stream('gzip', file, { signal })
      : compress('zstd', engine.content.open(plain.digest), level)
  const blob = await engine.content.write(bytes, { signal })
  brought.push(blob.digest)
  failpoint('build-export.compressed')
  return blob
}

/** The archive of a result, into the store. */
const plainBlob = async (
  { step, brought, isKept = false }: Making,
  id: string,
  epoch: number | undefined,
): Promise<BlobInfo> => {
  const { snapshots, engine, operation } = step
  const { signal } = operation
  // Once it is sealed, an image may have its archive.
  const sealed = epoch === undefined ? snapshots.find(id)?.diffId : undefined
  const there = sealed && (await engine.content.info(sealed))
  if (there) return there
  const write = async (archive: Readable): Promise<BlobInfo> => {
    const blob = await engine.content.write(archive, { signal })
    brought.push(blob.digest)
    failpoint('build-export.archived')
    return blob
  }
  if (!isKept || epoch !== undefined)
    return await write(snapshots.archive(id, { signal, ...(epoch === undefined ? {} : { epoch }) }))
  const blobs: BlobInfo[] = []
  const { diffId } = await snapshots.seal(id, {
    signal,
    through: async archive => void blobs.push(await write(archive)),
  })
  return blobs[0] ?? { digest: diffId, size: 0 }
}

const snapshotBlob = async (
  making: Making,
  { id }: LayerRef & { kind: 'snapshot' },
  epoch: number | undefined,
): Promise<LayerBlob> => {
  const { step, options } = making
  const plain = await plainBlob(making, id, epoch)
  const { digest, size } = await compressed(making, plain)
  return {
    descriptor: { mediaType: layerType(options.compression, options.isOci), digest, size },
    told: { diffId: plain.digest, ...step.originOf(id) },
  }
}

/** A base image's layer stays as it came unless told otherwise. */
const imageBlob = async (
  making: Making,
  { blob: digest, diffId, mediaType, reference, origin }: LayerRef & { kind: 'image' },
): Promise<LayerBlob> => {
  const { step, options, brought } = making
  const { content } = step.engine
  const there = await content.info(digest)
  if (!there) throw notFound(`the layer ${digest} of ${reference} is not here: pull the image again`)
  const told = { diffId, description: '', ...origin }
  const own = compressionOf(mediaType)
  const isWanted = options.isForced || (making.isPushed && own === 'none')
  if (!isWanted || own === options.compression)
    return { descriptor: { mediaType: layerType(own, options.isOci), ...there }, told }
  const { stream } = await decompress(content.open(digest), { size: there.size })
  const { signal } = step.operation
  const plain = await content.write(Readable.from(stream, { objectMode: false }), { signal })
  brought.push(plain.digest)
  const blob = await compressed(making, plain)
  return { descriptor: { mediaType: layerType(options.compression, options.isOci), ...blob }, told }
}

/** The caller holds the layer, shares `images.incoming`, and takes away what is brought. `epoch`: no file is later. */
export const layerBlob = async (making: Making, layer: LayerRef, epoch?: number): Promise<LayerBlob> =>
  layer.kind === 'image' ? await imageBlob(making, layer) : await snapshotBlob(making, layer, epoch)

/** Results whose layers of images are here, until they are disposed of. */
export interface BroughtResults extends Disposable {
  platforms: readonly PlatformResult[]
}

/** Fetches what is not here of base images. Errors: those of the registry. */
export const bringResults = async (
  step: ExportStep,
  platforms: readonly PlatformResult[],
): Promise<BroughtResults> => {
  using held = new DisposableStack()
  const brought: PlatformResult[] = []
  for (const platform of platforms)
    brought.push({ ...platform, tree: held.use(await step.bring(platform.tree)) })
  const kept = held.move()
  return { platforms: brought, [Symbol.dispose]: () => kept.dispose() }
}

/** Bottom first, of a result that was brought. The caller does as for `layerBlob`. */
export const layerBlobs = async (making: Making, { tree, epoch }: PlatformResult): Promise<LayerBlob[]> => {
  const { options } = making
  const latest = options.rewritesTimes ? (options.epoch ?? epoch) : undefined
  const blobs: LayerBlob[] = []
  // One after the other: each is compressed by several threads.
  for (const layer of tree.layers) blobs.push(await layerBlob(making, layer, latest))
  return blobs
}
