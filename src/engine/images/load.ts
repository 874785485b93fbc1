import { decompress } from '../../archive/compression.ts'
import { readTar, type TarMember } from '../../archive/reader.ts'
import { untilAborted } from '../../core/abort.ts'
import { badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, Index } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiar, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { ArrivingLayer, LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { plainLayer, unreadable, writeManifest } from './assemble.ts'
import { collectQuietly } from './collect.ts'
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

/** Small files of an archive are kept whole: indexes, manifests, configurations. */
const maxJson = 8 * 1024 * 1024

/** What an archive held, when it has been read through: blobs are in the store already. */
interface Archive {
  /** Digest of each file by its name. */
  blobs: Map<string, Digest>
  json: Map<string, Buffer>
  /** Blobs that this load wrote, and so hashed; unpacked on the way where they look like layers. */
  written: Map<Digest, ArrivingLayer | undefined>
}

interface DockerEntry {
  Config: string
  RepoTags: string[] | null
  Layers: string[]
}

const collect = async (member: TarMember): Promise<Buffer> => {
  if (member.entry.size > maxJson)
    throw badRequest(
      `the archive's ${member.entry.name.toString()} is too large (${member.entry.size} bytes)`,
    )
  const chunks: Buffer[] = []
  for await (const chunk of member.body) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

const nameOf = (member: TarMember): string =>
  Buffer.from(member.entry.name).toString('utf8').replace(/^\.\//, '')

const blobForm = /^blobs\/sha256\/([a-f0-9]{64})$/
/** Files that may be layers: Docker's of any time, and podman's. Most are named by their digest. */
const layerForm = /^blobs\/sha256\/([a-f0-9]{64})$|([a-f0-9]{64})?\.tar$/

/** Unpacks it on the way, unless it is there by its name or is no layer. */
const followLayer = async (
  engine: Engine,
  { name, size, signal }: { name: string; size: number; signal: AbortSignal },
): Promise<ArrivingLayer | undefined> => {
  const form = layerForm.exec(name)
  const hex = form?.[1] ?? form?.[2]
  if (!form || (hex && (await engine.layers.find([`sha256:${hex}`])))) return undefined
  return engine.layers.follow({ size, signal })
}

/** Writes a file of the archive to the content store. */
const takeBlob = async (
  engine: Engine,
  archive: Archive,
  member: TarMember,
  { name, expected, signal }: { name: string; expected?: { digest: Digest }; signal: AbortSignal },
): Promise<void> => {
  const follower = await followLayer(engine, { name, size: member.entry.size, signal })
  try {
    const { digest } = await engine.content.write(member.body, {
      ...(expected ? { expected } : {}),
      ...(follower ? { follower } : {}),
    })
    archive.blobs.set(name, digest)
    archive.written.get(digest)?.[Symbol.dispose]()
    archive.written.set(digest, follower)
  } catch (error) {
    follower?.[Symbol.dispose]()
    throw error
  }
}

const takeFile = async (
  engine: Engine,
  archive: Archive,
  member: TarMember,
  signal: AbortSignal,
): Promise<void> => {
  const name = nameOf(member)
  const hex = blobForm.exec(name)?.[1]
  if (hex) {
    const digest: Digest = `sha256:${hex}`
    archive.blobs.set(name, digest)
    if (await engine.content.info(digest)) return
    await takeBlob(engine, archive, member, { name, expected: { digest }, signal })
    failpoint('load.blob')
    return
  }
  if (name === 'index.json' || name === 'manifest.json' || name === 'oci-layout') {
    archive.json.set(name, await collect(member))
    return
  }
  if (name.endsWith('.json') || name.endsWith('.tar')) {
    await takeBlob(engine, archive, member, { name, signal })
    failpoint('load.file')
  }
}

/** Old archives let a layer be a link to another image's. */
const takeLink = (archive: Archive, member: TarMember, links: Map<string, string>): void => {
  const name = nameOf(member)
  const target = Buffer.from(member.entry.linkName).toString('utf8')
  const base = new URL(name, 'file:///')
  links.set(name, decodeURIComponent(new URL(target, base).pathname.slice(1)))
  const known = archive.blobs.get(links.get(name) ?? '')
  if (known) archive.blobs.set(name, known)
}

/** Fills `archive`; what it holds is right even where this fails half-way. */
const readArchive = async (
  engine: Engine,
  source: AsyncIterable<Uint8Array>,
  archive: Archive,
  signal: AbortSignal,
): Promise<void> => {
  const links = new Map<string, string>()
  const plain = await decompress(untilAborted(signal, source))
  for await (const member of readTar(plain.stream)) {
    if (member.entry.type === 'file') await takeFile(engine, archive, member, signal)
    else if (member.entry.type === 'symlink' || member.entry.type === 'link') takeLink(archive, member, links)
  }
  for (const [name, target] of links) {
    const digest = archive.blobs.get(target)
    if (digest) archive.blobs.set(name, digest)
  }
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
    return [withDefaultTag(parseReference(value))]
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

/** A manifest for an image whose archive had none. */
const makeManifest = async (engine: Engine, archive: Archive, entry: DockerEntry): Promise<Descriptor> => {
  const config = await engine.content.info(blobOf(archive, entry.Config))
  const layers = await Promise.all(
    (entry.Layers ?? []).map(name => engine.content.info(blobOf(archive, name))),
  )
  if (!config || layers.some(layer => !layer)) throw badRequest('invalid image archive: a blob is missing')
  const plain = layers.flatMap(layer => (layer ? [plainLayer(layer)] : []))
  const manifest = await writeManifest(engine, config, plain)
  archive.blobs.set(`manifest of ${entry.Config}`, manifest.digest)
  return manifest
}

/** Docker's manifest.json; where the archive is an OCI layout too, its manifests are kept. */
const fromDocker = async (engine: Engine, archive: Archive, oci: Found[]): Promise<Found[]> => {
  const bytes = archive.json.get('manifest.json')
  if (!bytes) return []
  const found: Found[] = []
  for (const entry of parseJson<DockerEntry[]>(bytes, 'manifest.json')) {
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
    using _sharing = await engine.images.incoming.share(operation.signal)
    operation.at('reading the archive')
    await readArchive(engine, source, archive, operation.signal)
    const oci = fromOci(archive)
    const docker = await fromDocker(engine, archive, oci)
    const found = merged([...docker, ...oci])
    if (found.length === 0)
      throw badRequest(
        'invalid image archive: it has neither a manifest.json (docker save) nor an index.json (OCI layout)',
      )
    for (const image of found) await takeImage(engine, { found: image, archive }, options)
  } catch (error) {
    throw unreadable('load', error)
  } finally {
    for (const follower of archive.written.values()) follower?.[Symbol.dispose]()
    await collectQuietly(engine, [...new Set(archive.blobs.values())])
  }
}
