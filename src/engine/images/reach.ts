import { badRequest, hasCode } from '../../core/errors.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { type Descriptor, type Index, isIndexType, isManifestType, type Manifest } from '../../oci/image.ts'
import { architectureOf, type Platform, platformScore } from '../../oci/platform.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { Engine } from '../engine.ts'

/** The platform that images run on here. */
export const hostPlatform: Platform = { os: 'linux', architecture: architectureOf(process.arch) }

/** An index may list indexes. */
const maxDepth = 4

/** An image behind a manifest or index, as far as it is in the store. */
export interface Reached {
  manifest: Descriptor
  config: Descriptor
  layers: Descriptor[]
  /** The way to it, itself with what it names, and its attestations with theirs. */
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

/** BuildKit's mark of an attestation manifest: the image that it is for. */
const attestedBy = ({ annotations }: Descriptor): Digest | undefined => {
  if (annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest') return undefined
  const digest = annotations['vnd.docker.reference.digest'] ?? ''
  return isDigest(digest) ? digest : undefined
}

const isAttestation = (descriptor: Descriptor): boolean =>
  descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
  descriptor.platform?.os === 'unknown'

/** Attestation manifests of an image in the index that lists it. */
export const attestationsOf = (index: Index, image: Digest): Descriptor[] =>
  index.manifests.filter(child => attestedBy(child) === image)

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

/** A manifest at or below a target. */
export interface Listed {
  descriptor: Descriptor
  /** The indexes that lead to it, outermost first. */
  path: Descriptor[]
  /** Absent where it is not here. */
  manifest?: Manifest
  /** The image that it attests, where it is an attestation manifest. */
  attests?: Digest
}

/** Every manifest at or below a target, in the indexes' order. */
export const manifestsBelow = (engine: Engine, descriptor: Descriptor): Promise<Listed[]> =>
  listBelow(engine, descriptor, { path: [], seen: new Set() })

interface Way {
  path: Descriptor[]
  /** Indexes that were read: what lists one again and again is no more work. */
  seen: Set<Digest>
}

const listBelow = async (engine: Engine, descriptor: Descriptor, { path, seen }: Way): Promise<Listed[]> => {
  if (isIndexType(descriptor.mediaType)) {
    if (path.length >= maxDepth || seen.has(descriptor.digest)) return []
    seen.add(descriptor.digest)
    const index = await readJson<Index>(engine, descriptor)
    const below: Listed[] = []
    for (const child of index?.manifests ?? [])
      below.push(...(await listBelow(engine, child, { path: [...path, descriptor], seen })))
    return below
  }
  if (!isManifestType(descriptor.mediaType)) return []
  const manifest = await readJson<Manifest>(engine, descriptor)
  const attests = attestedBy(descriptor)
  return [{ descriptor, path, ...(manifest ? { manifest } : {}), ...(attests ? { attests } : {}) }]
}

/** What is here of a manifest, itself included. */
export const blobsOf = async (
  engine: Engine,
  { descriptor, manifest }: Pick<Listed, 'descriptor' | 'manifest'>,
): Promise<BlobInfo[]> => {
  const wanted = [descriptor, ...(manifest ? [manifest.config, ...(manifest.layers ?? [])] : [])]
  const digests = [...new Set(wanted.flatMap(child => child?.digest ?? []))]
  return (await Promise.all(digests.map(digest => engine.content.info(digest)))).flatMap(info => info ?? [])
}

/** True where configuration and layers are here. */
export const isWhole = async (engine: Engine, { manifest }: Listed): Promise<boolean> => {
  if (!manifest?.config) return false
  for (const { digest } of [manifest.config, ...(manifest.layers ?? [])])
    if (!(await engine.content.info(digest))) return false
  return true
}

/** An image behind a target, as far as it is here. */
const reach = async (engine: Engine, entry: Listed, all: readonly Listed[]): Promise<Reached | undefined> => {
  if (!entry.manifest?.config) return undefined
  const blobs = new Map<Digest, BlobInfo>()
  for (const { digest } of entry.path) {
    const info = await engine.content.info(digest)
    if (info) blobs.set(digest, info)
  }
  const attestations = all.filter(({ attests }) => attests === entry.descriptor.digest)
  for (const part of [entry, ...attestations])
    for (const blob of await blobsOf(engine, part)) blobs.set(blob.digest, blob)
  return {
    manifest: entry.descriptor,
    config: entry.manifest.config,
    layers: entry.manifest.layers ?? [],
    blobs: [...blobs.values()],
  }
}

/** True for what can be run, as far as its manifest tells. */
export const isImage = ({ descriptor, attests, manifest }: Listed): boolean =>
  attests === undefined && descriptor.platform?.os !== 'unknown' && manifest?.config !== undefined

/** The images at or below a target that are here whole, in the index's order. */
export const wholeImages = async (engine: Engine, target: Descriptor): Promise<Reached[]> => {
  const all = await manifestsBelow(engine, target)
  const found: Reached[] = []
  for (const entry of all) {
    if (!isImage(entry) || !(await isWhole(engine, entry))) continue
    const reached = await reach(engine, entry, all)
    if (reached) found.push(reached)
  }
  return found
}

/** The image of a manifest at or below a target. */
export const reachManifest = async (
  engine: Engine,
  target: Descriptor,
  manifest: Digest,
): Promise<Reached | undefined> => {
  const all = await manifestsBelow(engine, target)
  const entry = all.find(({ descriptor }) => descriptor.digest === manifest)
  return entry && (await reach(engine, entry, all))
}

/** The image of a manifest that is in no index. */
export const reachTarget = (engine: Engine, descriptor: Descriptor): Promise<Reached | undefined> =>
  reachManifest(engine, descriptor, descriptor.digest)
