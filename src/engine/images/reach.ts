import { badRequest, hasCode } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, type Index, isIndexType, isManifestType, type Manifest } from '../../oci/image.ts'
import { architectureOf, type Platform, platformScore } from '../../oci/platform.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { Engine } from '../engine.ts'

/** The platform that images run on here. */
export const hostPlatform: Platform = { os: 'linux', architecture: architectureOf(process.arch) }

/** What can be reached from a manifest or index, as far as it is in the store. */
export interface Reached {
  manifest: Descriptor
  config: Descriptor
  layers: Descriptor[]
  blobs: BlobInfo[]
}

const readJson = async <T>(engine: Engine, descriptor: Descriptor): Promise<T | undefined> => {
  try {
    return JSON.parse((await engine.content.bytes(descriptor.digest)).toString('utf8')) as T
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    if (error instanceof SyntaxError)
      throw badRequest(`manifest ${descriptor.digest} is not valid JSON`, error)
    throw error
  }
}

const isAttestation = (descriptor: Descriptor): boolean =>
  descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
  descriptor.platform?.os === 'unknown'

/** Children of an index for a platform, best first; one that names no platform may be anything. */
export const candidates = (index: Index, platform: Platform): Descriptor[] =>
  index.manifests
    .filter(child => !isAttestation(child))
    .map(child => ({ child, score: child.platform ? platformScore(child.platform, platform) : 1 }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ child }) => child)

/** Every blob below a descriptor that is here, each once. */
export const reachable = async (engine: Engine, descriptor: Descriptor): Promise<BlobInfo[]> => {
  const blobs = new Map<Digest, BlobInfo>()
  await gather(engine, descriptor, blobs)
  return [...blobs.values()]
}

const gather = async (engine: Engine, descriptor: Descriptor, into: Map<Digest, BlobInfo>): Promise<void> => {
  if (into.has(descriptor.digest)) return
  const info = await engine.content.info(descriptor.digest)
  if (!info) return
  into.set(info.digest, info)
  if (isIndexType(descriptor.mediaType)) {
    const index = await readJson<Index>(engine, descriptor)
    for (const child of index?.manifests ?? []) await gather(engine, child, into)
  } else if (isManifestType(descriptor.mediaType)) {
    const manifest = await readJson<Manifest>(engine, descriptor)
    for (const child of manifest ? [manifest.config, ...manifest.layers] : [])
      await gather(engine, child, into)
  }
}

const choose = async (
  engine: Engine,
  descriptor: Descriptor,
): Promise<{ descriptor: Descriptor; manifest: Manifest } | undefined> => {
  if (isManifestType(descriptor.mediaType)) {
    const manifest = await readJson<Manifest>(engine, descriptor)
    return manifest?.config ? { descriptor, manifest } : undefined
  }
  if (!isIndexType(descriptor.mediaType)) return undefined
  const index = await readJson<Index>(engine, descriptor)
  for (const child of index ? candidates(index, hostPlatform) : []) {
    const found = await choose(engine, child)
    if (found) return found
  }
  return undefined
}

/** The image for this host behind a manifest or index; undefined where there is none. */
export const reachTarget = async (engine: Engine, descriptor: Descriptor): Promise<Reached | undefined> => {
  const chosen = await choose(engine, descriptor)
  if (!chosen) return undefined
  return {
    manifest: chosen.descriptor,
    config: chosen.manifest.config,
    layers: chosen.manifest.layers ?? [],
    blobs: await reachable(engine, descriptor),
  }
}
