import { detectCompression, MAGIC_LENGTH } from '../../archive/compression.ts'
import type { Compression } from '../../archive/types.ts'
import { type BerthError, badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, type Index, mediaTypes } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiar, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { BlobInfo, LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { plainLayer, unreadable, writeManifest } from './assemble.ts'
import { bringIn, collectQuietly } from './collect.ts'
import { type Archive, readArchive } from './loadArchive.ts'
import { loadedImages } from './loadedImages.ts'
import { manifestsBelow, type Reached } from './reach.ts'

/** One line of the load's progress stream. */
export interface LoadProgress {
  stream?: string
  status?: string
  id?: string
  progressDetail?: { current: number; total: number }
}

export interface LoadOptions {
  report: (progress: LoadProgress) => void
  operation: Operation
  /** Only these of what the archive holds; none for all. */
  platforms: readonly Platform[]
}

interface DockerEntry {
  Config: string
  RepoTags: string[] | null
  Layers: string[]
}

const parseJson = <T>(bytes: Buffer, what: string): T => {
  try {
    return JSON.parse(bytes.toString('utf8')) as T
  } catch (error) {
    throw badRequest(`the archive's ${what} is not valid JSON`, error)
  }
}

/** One image to take in: where to start, and under which names. */
interface Found {
  descriptor: Descriptor
  names: Reference[]
}

const nameAnnotations = ['io.containerd.image.name', 'org.opencontainers.image.ref.name']

const ociNames = (descriptor: Descriptor): Reference[] => {
  for (const key of nameAnnotations) {
    const value = descriptor.annotations?.[key]
    // A bare ref.name is a tag without a repository, of which nobody could make a name.
    if (!value || (key === nameAnnotations[1] && !/[:/@]/.test(value))) continue
    try {
      return [withDefaultTag(parseReference(value))]
    } catch {
      // Any text may stand there: it is no name, then.
    }
  }
  return []
}

const fromOci = (archive: Archive): Found[] => {
  const bytes = archive.json.get('index.json')
  if (!bytes || !archive.json.has('oci-layout')) return []
  const index = parseJson<Index>(bytes, 'index.json')
  return (index.manifests ?? []).map(descriptor => ({ descriptor, names: ociNames(descriptor) }))
}

const blobOf = (archive: Archive, name: string): Digest => {
  const digest = archive.blobs.get(name.replace(/^\.\//, ''))
  if (!digest) throw badRequest(`invalid image archive: it names ${name}, but holds no such file`)
  return digest
}

const compressedLayers: Partial<Record<Compression, string>> = {
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
}

/** Others than Docker leave layers compressed in its form of archive. */
const layerOf = async (engine: Engine, blob: BlobInfo): Promise<Descriptor> => {
  const start: Buffer[] = []
  if (blob.size > 0)
    for await (const chunk of engine.content.open(blob.digest, { start: 0, end: MAGIC_LENGTH - 1 }))
      start.push(chunk as Buffer)
  const plain = plainLayer(blob)
  const mediaType = compressedLayers[detectCompression(Buffer.concat(start))] ?? plain.mediaType
  return { ...plain, mediaType }
}

/** A manifest for an image whose archive had none. */
const makeManifest = async (engine: Engine, archive: Archive, entry: DockerEntry): Promise<Descriptor> => {
  const config = await engine.content.info(blobOf(archive, entry.Config))
  const layers = await Promise.all(
    (entry.Layers ?? []).map(name => engine.content.info(blobOf(archive, name))),
  )
  if (!config || layers.some(layer => !layer)) throw badRequest('invalid image archive: a blob is missing')
  const descriptors = await Promise.all(layers.flatMap(layer => (layer ? [layerOf(engine, layer)] : [])))
  const manifest = await writeManifest(engine, config, descriptors)
  archive.blobs.set(`manifest of ${entry.Config}`, manifest.digest)
  return manifest
}

/** Docker's manifest.json; where the archive is an OCI layout too, its manifests are kept. */
const fromDocker = async (engine: Engine, archive: Archive, oci: Found[]): Promise<Found[]> => {
  const bytes = archive.json.get('manifest.json')
  if (!bytes) return []
  const found: Found[] = []
  const entries = parseJson<DockerEntry[] | null>(bytes, 'manifest.json')
  if (!Array.isArray(entries)) throw badRequest('invalid manifest, manifest cannot be null (but can be [])')
  for (const entry of entries) {
    const names = (entry.RepoTags ?? []).map(name => withDefaultTag(parseReference(name)))
    const own = await ociWithConfig(engine, oci, blobOf(archive, entry.Config))
    found.push({ descriptor: own ?? (await makeManifest(engine, archive, entry)), names })
  }
  return found
}

const ociWithConfig = async (
  engine: Engine,
  oci: Found[],
  config: Digest,
): Promise<Descriptor | undefined> => {
  for (const { descriptor } of oci) {
    const below = await manifestsBelow(engine, descriptor)
    if (below.some(({ manifest }) => manifest?.config?.digest === config)) return descriptor
  }
  return undefined
}

/** Names from both parts for one descriptor, each once. */
const merged = (found: Found[]): Found[] => {
  const byDigest = new Map<Digest, Found>()
  for (const { descriptor, names } of found) {
    const entry = byDigest.get(descriptor.digest) ?? { descriptor, names: [] }
    for (const name of names)
      if (!entry.names.some(known => familiar(known) === familiar(name))) entry.names.push(name)
    byDigest.set(descriptor.digest, entry)
  }
  return [...byDigest.values()]
}

/** Unpacks an image, unless it is already. */
const unpack = async (
  engine: Engine,
  { reached, layers, archive }: { reached: Reached; layers: LayerSource[]; archive: Archive },
  { report, operation }: LoadOptions,
): Promise<void> => {
  let current = 0
  const sizes = new Map(reached.layers.map(layer => [layer.digest, layer.size]))
  await engine.layers.ensure(layers, {
    verified: blob => archive.written.has(blob),
    arrived: blob => archive.written.get(blob),
    signal: operation.signal,
    onProgress: (source, bytes) => {
      current = bytes
      report({
        status: 'Loading layer',
        id: source.diffId.slice(7, 19),
        progressDetail: { current, total: sizes.get(source.blob) ?? current },
      })
    },
  })
}

const takeImage = async (
  engine: Engine,
  { found, archive }: { found: Found; archive: Archive },
  options: LoadOptions,
): Promise<void> => {
  const { report, operation, platforms } = options
  const { images, unpacked } = await loadedImages(engine, found.descriptor, platforms)
  if (images.length === 0) return
  operation.at(`unpacking ${found.names.map(familiar)[0] ?? images[0]?.reached.config.digest}`)
  for (const image of unpacked) await unpack(engine, { ...image, archive }, options)
  failpoint('load.unpacked')
  const record = await engine.images.addAll(
    images.map(({ reached, config, layers }) => ({
      image: { id: reached.config.digest, config },
      target: { descriptor: found.descriptor, manifest: reached.manifest, blobs: reached.blobs, layers },
    })),
    found.names,
  )
  failpoint('load.recorded')
  for (const name of found.names) {
    engine.events.publish('image', 'load', record.id, { name: familiar(name) })
    report({ stream: `Loaded image: ${familiar(name)}\n` })
  }
  if (found.names.length === 0) report({ stream: `Loaded image ID: ${record.id}\n` })
}

const noImages = ({ json }: Archive): BerthError =>
  badRequest(
    json.has('repositories')
      ? 'invalid image archive: it was written by a Docker before 1.10, and has no manifest.json: have a later one load it and save it anew'
      : 'invalid image archive: it has neither a manifest.json (docker save) nor an index.json (OCI layout)',
  )

/**
 * `POST /images/load`: reads the archive in one pass. Nothing that it brought
 * stays where it turns out to be wrong.
 */
export const loadImages = async (
  engine: Engine,
  source: AsyncIterable<Uint8Array>,
  options: LoadOptions,
): Promise<void> => {
  const { operation } = options
  const archive: Archive = { blobs: new Map(), json: new Map(), written: new Map() }
  try {
    operation.at('waiting for a removal of images')
    using _bringing = await bringIn(engine, operation.signal)
    operation.at('reading the archive')
    await readArchive(engine, source, archive, operation.signal)
    const oci = fromOci(archive)
    const docker = await fromDocker(engine, archive, oci)
    const found = merged([...docker, ...oci])
    if (found.length === 0 && !archive.json.has('manifest.json')) throw noImages(archive)
    for (const image of found) await takeImage(engine, { found: image, archive }, options)
  } catch (error) {
    throw unreadable('load', error)
  } finally {
    for (const follower of archive.written.values()) follower?.[Symbol.dispose]()
    await collectQuietly(engine, [...new Set(archive.blobs.values())])
  }
}
