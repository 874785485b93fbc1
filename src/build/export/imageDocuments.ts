import { badRequest } from '../../core/errors.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { type Descriptor, type Index, type Manifest, mediaTypes } from '../../oci/image.ts'
import { dateOf } from '../plan/history.ts'
import { exportedConfig } from './imageConfig.ts'
import type { LayerBlob } from './layerBlobs.ts'
import type { Annotation, ImageOptions } from './options.ts'
import type { BuildOutcome, PlatformResult } from './types.ts'

/** Configurations, manifests and the index of what was built. */

/** A small blob that is made here. */
export interface Document {
  descriptor: Descriptor
  bytes: Buffer
}

export interface ImageDocuments {
  config: Document
  manifest: Document
  layers: Descriptor[]
  /** Bottom first, one a layer. */
  diffIds: Digest[]
}

export const documentOf = (mediaType: string, value: unknown): Document => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } }
}

const annotationsFor = (
  annotations: readonly Annotation[],
  place: Annotation['place'],
  platform: string,
): { annotations?: Record<string, string> } => {
  const own = annotations.filter(
    annotation => annotation.place === place && ['', platform].includes(annotation.platform),
  )
  return own.length > 0 ? { annotations: Object.fromEntries(own.map(({ key, value }) => [key, value])) } : {}
}

/** Errors: `bad-request` where an annotation is of no platform that was built, or of an index that there is not. */
export const checkAnnotations = ({ annotations }: ImageOptions, outcome: BuildOutcome): void => {
  for (const { platform, place } of annotations) {
    if (platform !== '' && !outcome.platforms.some(({ id }) => id === platform))
      throw badRequest(`invalid annotation: no platform ${platform} found in source`)
    if (place.startsWith('index') && !outcome.isMulti)
      throw badRequest('index annotations not supported for single platform export')
  }
}

export const imageDocuments = (
  result: PlatformResult,
  layers: readonly LayerBlob[],
  options: ImageOptions,
): ImageDocuments => {
  const { isOci, annotations } = options
  const epoch = options.epoch ?? result.epoch
  const told = layers.map(layer => layer.told)
  const image = exportedConfig(result.image, told, {
    ...(epoch === undefined ? {} : { epoch: dateOf(epoch) }),
    ...(result.baseImage ? { base: result.baseImage } : {}),
    cache: result.inlineCache?.(told),
  })
  const config = documentOf(isOci ? mediaTypes.ociConfig : mediaTypes.dockerConfig, image)
  const mediaType = isOci ? mediaTypes.ociManifest : mediaTypes.dockerManifest
  const value: Manifest = {
    schemaVersion: 2,
    mediaType,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...annotationsFor(annotations, 'manifest', result.id),
  }
  const { descriptor, bytes } = documentOf(mediaType, value)
  return {
    config,
    manifest: {
      bytes,
      descriptor: {
        ...descriptor,
        ...annotationsFor(annotations, 'manifest-descriptor', result.id),
        platform: result.platform,
      },
    },
    layers: value.layers,
    diffIds: told.map(({ diffId }) => diffId),
  }
}

export const indexDocument = (
  images: readonly ImageDocuments[],
  { isOci, annotations }: Pick<ImageOptions, 'isOci' | 'annotations'>,
): Document => {
  const mediaType = isOci ? mediaTypes.ociIndex : mediaTypes.dockerList
  const value: Index = {
    schemaVersion: 2,
    mediaType,
    manifests: images.map(({ manifest }) => manifest.descriptor),
    ...annotationsFor(annotations, 'index', ''),
  }
  const { descriptor, bytes } = documentOf(mediaType, value)
  return { bytes, descriptor: { ...descriptor, ...annotationsFor(annotations, 'index-descriptor', '') } }
}

/** With the time at which it was made, as clients are told of it. */
export const datedDescriptor = (descriptor: Descriptor, epoch: number | undefined): Descriptor => {
  const seconds = epoch ?? Math.floor(Date.now() / 1000)
  return {
    ...descriptor,
    annotations: { 'org.opencontainers.image.created': dateOf(seconds), ...descriptor.annotations },
  }
}
