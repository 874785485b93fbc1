import type { OutgoingMember } from '../../archive/writer.ts'
import { tarEntry } from '../../archive/writer.ts'
import { badRequest } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { canonical, familiar, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Engine } from '../engine.ts'
import type { ImageRecord, ImageTarget } from './types.ts'

/** One target to save, with the names it was asked for by. */
interface Chosen {
  image: ImageRecord
  target: ImageTarget
  names: string[]
}

const choose = (engine: Engine, text: string): Chosen[] => {
  const image = engine.images.get(text)
  const [first] = image.targets
  if (!first) throw badRequest(`image ${text} has no manifest`)
  let tag: ReturnType<Engine['images']['findTag']>
  try {
    tag = engine.images.findTag(parseReference(text))
  } catch {
    tag = undefined
  }
  if (tag) {
    const target = image.targets.find(entry => entry.descriptor.digest === tag.target) ?? first
    return [{ image, target, names: [familiar(withDefaultTag(parseReference(text)))] }]
  }
  // A repository without a tag means all its tags, an id means none.
  return [{ image, target: first, names: [] }]
}

const blobPath = (digest: Digest): string => `blobs/sha256/${digest.slice('sha256:'.length)}`

const small = (name: string, value: unknown): OutgoingMember => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { entry: tarEntry({ type: 'file', name, mode: 0o644, size: bytes.length }), body: [bytes] }
}

const annotated = (descriptor: Descriptor, name: string | undefined): Descriptor => {
  if (name === undefined) return descriptor
  const reference = withDefaultTag(parseReference(name))
  const annotations = {
    ...descriptor.annotations,
    'io.containerd.image.name': canonical(reference),
    'org.opencontainers.image.ref.name': reference.tag ?? '',
  }
  return { ...descriptor, annotations }
}

const merge = (chosen: Chosen[]): Chosen[] => {
  const byTarget = new Map<Digest, Chosen>()
  for (const entry of chosen) {
    const known = byTarget.get(entry.target.descriptor.digest)
    if (known) known.names.push(...entry.names.filter(name => !known.names.includes(name)))
    else byTarget.set(entry.target.descriptor.digest, entry)
  }
  return [...byTarget.values()]
}

/**
 * `GET /images/{name}/get`: an archive that is an OCI layout and, by its
 * manifest.json, a Docker one. Blobs are sent as they were received.
 */
export async function* saveImages(
  engine: Engine,
  references: readonly string[],
): AsyncGenerator<OutgoingMember> {
  const chosen = merge(references.flatMap(text => choose(engine, text)))
  const leases = chosen.map(({ image }) => engine.images.lease(image.id))
  try {
    const sent = new Set<Digest>()
    yield { entry: tarEntry({ type: 'directory', name: 'blobs/', mode: 0o755 }) }
    yield { entry: tarEntry({ type: 'directory', name: 'blobs/sha256/', mode: 0o755 }) }
    for (const { target } of chosen)
      for (const blob of target.blobs) {
        if (sent.has(blob.digest)) continue
        sent.add(blob.digest)
        yield {
          entry: tarEntry({ type: 'file', name: blobPath(blob.digest), mode: 0o644, size: blob.size }),
          body: engine.content.open(blob.digest),
        }
      }
    const manifests = chosen.flatMap(({ target, names }) =>
      (names.length ? names : [undefined]).map(name => annotated(target.descriptor, name)),
    )
    yield small('oci-layout', { imageLayoutVersion: '1.0.0' })
    yield small('index.json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests,
    })
    yield small(
      'manifest.json',
      chosen.map(({ image, target, names }) => ({
        Config: blobPath(image.id),
        RepoTags: names.length ? names : null,
        Layers: target.layers.map(layer => blobPath(layer.blob)),
      })),
    )
  } finally {
    for (const lease of leases) lease[Symbol.dispose]()
  }
}
