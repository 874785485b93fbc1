import { asBerthError, BerthError, badRequest, internal, messageOf } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, type ImageConfig, type Manifest, mediaTypes } from '../../oci/image.ts'
import { familiar, type Reference } from '../../oci/reference.ts'
import type { BlobInfo, LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { bringIn, collectQuietly } from './collect.ts'
import { reachTarget } from './reach.ts'
import type { ImageRecord } from './types.ts'

/** Images whose manifest is made here: by load for archives without one, by commit and import. */

/** A descriptor of a layer blob that is stored uncompressed. */
export const plainLayer = ({ digest, size }: BlobInfo): Descriptor => ({
  mediaType: mediaTypes.ociLayer,
  digest,
  size,
})

/** The manifest of a configuration and layers (bottom first), as all are written that are made here. */
export const manifestBytes = (config: BlobInfo, layers: readonly Descriptor[]): Buffer => {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
    layers: [...layers],
  }
  return Buffer.from(JSON.stringify(manifest))
}

/** Stores the manifest of a configuration and layers that are in the store. */
export const writeManifest = async (
  engine: Engine,
  config: BlobInfo,
  layers: readonly Descriptor[],
): Promise<Descriptor> => {
  const { digest, size } = await engine.content.put(manifestBytes(config, layers))
  return { mediaType: mediaTypes.ociManifest, digest, size }
}

/** A layer by its blob, and by what that unpacks to. */
export interface AssembledLayer {
  descriptor: Descriptor
  diffId: Digest
}

export interface Assembly {
  config: ImageConfig
  /** Bottom first, as many as the configuration's diff ids. */
  layers: AssembledLayer[]
  name: Reference | undefined
  parent?: Digest
  operation: Operation
}

/**
 * Makes an image of a configuration and layer blobs; unpacked and durable with
 * its name when this settles. The caller shares `images.incoming`, and tells
 * what it and this brought by `brought`.
 */
export const assembleImage = async (
  engine: Engine,
  { config, layers, name, parent, operation }: Assembly,
  brought: Digest[],
): Promise<ImageRecord> => {
  const stored = await engine.content.put(Buffer.from(JSON.stringify(config)))
  brought.push(stored.digest)
  const manifest = await writeManifest(
    engine,
    stored,
    layers.map(layer => layer.descriptor),
  )
  brought.push(manifest.digest)
  const sources: LayerSource[] = layers.map(({ descriptor, diffId }) => ({ blob: descriptor.digest, diffId }))
  operation.at('unpacking its layers')
  await engine.layers.ensure(sources, { signal: operation.signal })
  operation.at('recording the image')
  const reached = await reachTarget(engine, manifest)
  const target = { descriptor: manifest, manifest, blobs: reached?.blobs ?? [], layers: sources }
  return engine.images.add(
    { id: stored.digest, config, ...(parent ? { parent } : {}) },
    target,
    name ? [name] : [],
  )
}

/** What ended the reading of an archive: the archive's fault, unless the system refused something. */
export const unreadable = (verb: string, error: unknown): BerthError => {
  if (error instanceof BerthError) return error
  if (error instanceof Error && 'syscall' in error)
    return internal(`cannot ${verb} the archive: ${asBerthError(error).message}`, error)
  return badRequest(`cannot ${verb} the archive: ${messageOf(error)}`, error)
}

/** Says that an image got a name. */
export const publishTag = (engine: Engine, id: Digest, name: Reference | undefined): void => {
  if (name) engine.events.publish('image', 'tag', id, { name: familiar(name) })
}

/** Runs what brings blobs in that no record names yet; where it fails they are taken away again. */
export const withIncoming = async <T>(
  engine: Engine,
  signal: AbortSignal,
  work: (brought: Digest[]) => Promise<T>,
): Promise<T> => {
  const brought: Digest[] = []
  try {
    using _bringing = await bringIn(engine, signal)
    return await work(brought)
  } catch (error) {
    await collectQuietly(engine, brought)
    throw error
  }
}
