import { BerthError, badRequest, hasCode, internal, prefixed } from '../../core/errors.ts'
import { type Digest, digestOf, isDigest } from '../../oci/digest.ts'
import {
  type Descriptor,
  type ImageConfig,
  type Index,
  isIndexType,
  isManifestType,
  type Manifest,
  mediaTypes,
} from '../../oci/image.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import type { ImageSource, ManifestAnswer } from '../../registry-client/types.ts'
import type { LayerSource } from '../../store/types.ts'
import { attestationsOf, candidates, hostPlatform } from './reach.ts'

/** What a pull has to bring: from a name to the layers of one platform's image. */
export interface PullPlan {
  /** What the name stands for: an index, or the manifest itself. */
  target: Descriptor
  manifest: Descriptor
  config: ImageConfig
  /** The image's id. */
  id: Digest
  /** Bottom first. */
  layers: Descriptor[]
  sources: LayerSource[]
  /** Everything but the layers and the attestations, as the registry sent it. */
  documents: Buffer[]
  /** Attestation manifests of the image. */
  attestations: Descriptor[]
}

/** Configurations are read into memory. */
const maxConfig = 8 << 20
/** An index may list indexes. */
const maxDepth = 4

const configTypes: readonly string[] = [
  mediaTypes.ociConfig,
  mediaTypes.dockerConfig,
  'application/octet-stream',
  'text/html',
  '',
]

export const parseDocument = <T>(bytes: Buffer, what: string): T => {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as T
    if (typeof value === 'object' && value !== null) return value
  } catch {}
  throw badRequest(`${what} is not valid JSON: the registry, or who pushed it, made a mistake`)
}

const unsupported = ({ descriptor }: ManifestAnswer): BerthError =>
  /manifest\.v1\+(json|prettyjws)/.test(descriptor.mediaType)
    ? badRequest(
        'this image has a manifest of version 2, schema 1, which is not supported: it has to be pushed anew by a current client',
      )
    : badRequest(`unsupported media type ${descriptor.mediaType}`)

const childrenOf = (manifest: Manifest): Descriptor[] => [manifest.config, ...(manifest.layers ?? [])]

const isDescriptor = (value: Descriptor | undefined): value is Descriptor =>
  typeof value?.digest === 'string' &&
  isDigest(value.digest) &&
  Number.isSafeInteger(value.size) &&
  value.size >= 0

export const manifestOf = (answer: ManifestAnswer): Manifest => {
  const manifest = parseDocument<Manifest>(answer.bytes, `manifest ${answer.descriptor.digest}`)
  if (!manifest.config || !childrenOf(manifest).every(isDescriptor))
    throw badRequest(
      `manifest ${answer.descriptor.digest} is invalid: a descriptor in it has no digest or size`,
    )
  return manifest
}

export const indexOf = (answer: ManifestAnswer): Index => {
  const index = parseDocument<Index>(answer.bytes, `index ${answer.descriptor.digest}`)
  if (!Array.isArray(index.manifests) || !index.manifests.every(isDescriptor))
    throw badRequest(`index ${answer.descriptor.digest} is invalid: a descriptor in it has no digest or size`)
  return index
}

/** Refuses what is no image before anything is fetched. */
export const checkIsImage = (answer: ManifestAnswer): void => {
  const { mediaType } = answer.descriptor
  if (isIndexType(mediaType)) return
  if (!isManifestType(mediaType)) throw unsupported(answer)
  const type = manifestOf(answer).config.mediaType ?? ''
  if (!configTypes.includes(type))
    throw badRequest(`Encountered remote ${JSON.stringify(type)}(unknown) when fetching`)
}

interface Chosen {
  manifest: ManifestAnswer
  /** The indexes that lead to it, and itself. */
  path: Buffer[]
  attestations: Descriptor[]
}

export interface PlanOptions {
  repository: ImageSource
  /** This host's unless told. */
  platform: Platform | undefined
  signal: AbortSignal
}

const choose = async (
  answer: ManifestAnswer,
  options: PlanOptions,
  depth = 0,
): Promise<Chosen | undefined> => {
  if (isManifestType(answer.descriptor.mediaType))
    return { manifest: answer, path: [answer.bytes], attestations: [] }
  if (!isIndexType(answer.descriptor.mediaType) || depth >= maxDepth) return undefined
  const index = indexOf(answer)
  for (const child of candidates(index, options.platform ?? hostPlatform)) {
    const answered = await options.repository.manifest(child.digest, options.signal)
    // The index tells more of it: its platform.
    const next = { ...answered, descriptor: { ...child, ...answered.descriptor } }
    const found = await choose(next, options, depth + 1)
    if (!found) continue
    const attestations = [...found.attestations, ...attestationsOf(index, child.digest)]
    return { ...found, path: [answer.bytes, ...found.path], attestations }
  }
  return undefined
}

const noMatch = ({ platform = hostPlatform }: PlanOptions): BerthError =>
  new BerthError(
    'no-such-platform',
    404,
    `no matching manifest for ${formatPlatform(platform)} in the manifest list entries`,
  )

export const readConfig = async (
  descriptor: Descriptor,
  { repository, signal }: PlanOptions,
): Promise<Buffer> => {
  if (descriptor.size > maxConfig)
    throw badRequest(`the image configuration is too large: ${descriptor.size} bytes, at most ${maxConfig}`)
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of repository.blob(descriptor, { signal })) {
      size += chunk.length
      if (size > descriptor.size) break
      chunks.push(chunk)
    }
  } catch (error) {
    if (!(error instanceof BerthError) || hasCode(error, 'cancelled')) throw error
    throw prefixed('error pulling image configuration', error)
  }
  const bytes = Buffer.concat(chunks)
  if (size !== descriptor.size || digestOf(bytes) !== descriptor.digest)
    throw internal(`image config verification failed for digest ${descriptor.digest}`)
  return bytes
}

const sourcesOf = (config: ImageConfig, layers: readonly Descriptor[]): LayerSource[] => {
  const diffIds = config.rootfs?.diff_ids
  if (!Array.isArray(diffIds) || !diffIds.every(id => typeof id === 'string' && isDigest(id)))
    throw badRequest('invalid rootfs in image configuration')
  if (diffIds.length !== layers.length)
    throw badRequest("layers from manifest don't match image configuration")
  return layers.map((layer, index) => ({ blob: layer.digest, diffId: diffIds[index] ?? layer.digest }))
}

/** Chooses the platform's image behind what a name stands for, and reads its configuration. */
export const planPull = async (answer: ManifestAnswer, options: PlanOptions): Promise<PullPlan> => {
  const chosen = await choose(answer, options)
  if (!chosen) throw noMatch(options)
  const manifest = manifestOf(chosen.manifest)
  const bytes = await readConfig(manifest.config, options)
  const config = parseDocument<ImageConfig>(bytes, 'the image configuration')
  if (config.os !== undefined && config.os !== '' && config.os !== 'linux')
    throw badRequest(`cannot download image with operating system "${config.os}" when requesting "linux"`)
  const layers = manifest.layers ?? []
  return {
    target: answer.descriptor,
    manifest: chosen.manifest.descriptor,
    config,
    id: manifest.config.digest,
    layers,
    sources: sourcesOf(config, layers),
    documents: [...chosen.path, bytes],
    attestations: chosen.attestations,
  }
}
