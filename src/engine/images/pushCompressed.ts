import { failpoint } from '../../core/failpoint.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { type Descriptor, isManifestType, type Manifest, mediaTypes } from '../../oci/image.ts'
import type { LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { manifestBytes, withIncoming, writeManifest } from './assemble.ts'
import { parseDocument } from './pullPlan.ts'
import type { Sending } from './pushSending.ts'
import { reachable } from './reach.ts'
import type { ImageRecord, ImageTarget } from './types.ts'

/**
 * What commit, import and the loading of old archives make has plain layers; registries get them compressed. The
 * compressed image becomes a further target of the record, so that its layers are kept with it: pushing it again, to
 * whatever registry, needs no compression and gives the same digest.
 */

export interface Compressing {
  image: ImageRecord
  target: ImageTarget
  operation: Operation
  /** Each layer goes as soon as it is compressed. */
  sending: Sending
}

const isPlain = ({ blob, diffId }: LayerSource): boolean => blob === diffId

/** The manifest, where it was made here: one that somebody else made is sent as it is, whatever its layers are. */
const ownManifest = async (engine: Engine, { descriptor }: ImageTarget): Promise<Manifest | undefined> => {
  if (!isManifestType(descriptor.mediaType)) return undefined
  const bytes = await engine.content.bytes(descriptor.digest)
  const { config, layers } = parseDocument<Manifest>(bytes, `manifest ${descriptor.digest}`)
  const ours = manifestBytes(config, layers)
  return digestOf(ours) === descriptor.digest ? { schemaVersion: 2, config, layers } : undefined
}

/** The same image, with each plain layer compressed and the others as they are. */
const isCompressedForm = (target: ImageTarget, plain: ImageTarget): boolean =>
  target.descriptor.digest === target.manifest.digest &&
  target.layers.length === plain.layers.length &&
  plain.layers.every((layer, index) => {
    const other = target.layers[index]
    if (other?.diffId !== layer.diffId) return false
    return isPlain(layer) ? !isPlain(other) : other.blob === layer.blob
  })

/** A layer's compressed form that some image here has. */
const knownForm = async (engine: Engine, diffId: Digest): Promise<Descriptor | undefined> => {
  for (const image of engine.images.all())
    for (const { layers, manifest } of image.targets) {
      const source = layers.find(layer => layer.diffId === diffId && !isPlain(layer))
      if (!source || !(await engine.content.info(manifest.digest))) continue
      const bytes = await engine.content.bytes(manifest.digest)
      const all = parseDocument<Manifest>(bytes, `manifest ${manifest.digest}`).layers ?? []
      const found = all.find(({ digest }) => digest === source.blob)
      const isGzip =
        found?.mediaType === mediaTypes.ociLayerGzip || found?.mediaType === mediaTypes.dockerLayerGzip
      if (found && isGzip && (await engine.content.info(found.digest)))
        return { mediaType: mediaTypes.ociLayerGzip, digest: found.digest, size: found.size }
    }
  return undefined
}

const compress = async (
  engine: Engine,
  { sending }: Compressing,
  { digest }: Descriptor,
): Promise<Descriptor> => {
  const { signal } = sending
  const path = engine.content.path(digest)
  const onProgress = (bytes: number): void => sending.lineOf(digest)?.bytes('Preparing', bytes)
  const blob = await engine.content.write(engine.pool.stream('gzip', { path }, { signal, onProgress }), {
    signal,
  })
  failpoint('push.compressed')
  return { mediaType: mediaTypes.ociLayerGzip, ...blob }
}

/** A layer as it is sent. */
const layerForm = async (
  engine: Engine,
  work: Compressing,
  { layer, source }: { layer: Descriptor; source: LayerSource | undefined },
): Promise<Descriptor> => {
  if (!source || !isPlain(source)) return layer
  return (await knownForm(engine, source.diffId)) ?? (await compress(engine, work, layer))
}

const makeForm = (engine: Engine, work: Compressing, manifest: Manifest): Promise<ImageTarget> =>
  withIncoming(engine, work.sending.signal, async brought => {
    const { image, target, operation, sending } = work
    operation.at('compressing layers')
    const layers: Descriptor[] = []
    // One after the other: each is compressed by several threads.
    for (const [index, layer] of manifest.layers.entries()) {
      // An image may have a layer twice.
      const same = layers[manifest.layers.findIndex(({ digest }) => digest === layer.digest)]
      const form = same ?? (await layerForm(engine, work, { layer, source: target.layers[index] }))
      if (form !== layer) brought.push(form.digest)
      layers.push(form)
      sending.rename(layer.digest, form.digest)
      sending.begin({ descriptor: form, here: true, isLayer: true })
    }
    const descriptor = await writeManifest(engine, manifest.config, layers)
    brought.push(descriptor.digest)
    const sources = target.layers.map(({ diffId }, index) => ({
      blob: layers[index]?.digest ?? diffId,
      diffId,
    }))
    const blobs = await reachable(engine, descriptor)
    const form: ImageTarget = { descriptor, manifest: descriptor, blobs, layers: sources }
    await engine.images.add({ id: image.id, config: image.config }, form, [])
    failpoint('push.prepared')
    return form
  })

/** What is sent of a target: itself, or its compressed form, which is made where there is none yet. */
export const compressedForm = async (engine: Engine, work: Compressing): Promise<ImageTarget> => {
  const { image, target } = work
  if (!target.layers.some(isPlain)) return target
  const manifest = await ownManifest(engine, target)
  if (manifest?.config.digest !== image.id) return target
  const known = (): ImageTarget | undefined =>
    engine.images.byId(image.id)?.targets.find(other => isCompressedForm(other, target))
  const make = async (): Promise<ImageTarget> => known() ?? (await makeForm(engine, work, manifest))
  const form = known() ?? (await engine.uploads.alone(image.id, make, work.sending.signal))
  for (const [index, { blob }] of target.layers.entries())
    work.sending.rename(blob, form.layers[index]?.blob ?? blob)
  return form
}
