import type { OutgoingMember } from '../../archive/writer.ts'
import { tarEntry } from '../../archive/writer.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { canonical, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Engine } from '../engine.ts'
import type { Saved } from './saved.ts'
import { targetOf } from './siblings.ts'

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

/**
 * `GET /images/{name}/get`: an archive that is an OCI layout and, by its
 * manifest.json, a Docker one. Blobs are sent as they were received.
 */
export async function* saveImages(engine: Engine, chosen: readonly Saved[]): AsyncGenerator<OutgoingMember> {
  using leases = new DisposableStack()
  for (const { images } of chosen) for (const { id } of images) leases.use(engine.images.lease(id))
  const sent = new Set<Digest>()
  yield { entry: tarEntry({ type: 'directory', name: 'blobs/', mode: 0o755 }) }
  yield { entry: tarEntry({ type: 'directory', name: 'blobs/sha256/', mode: 0o755 }) }
  for (const { blobs } of chosen)
    for (const blob of blobs) {
      if (sent.has(blob.digest)) continue
      sent.add(blob.digest)
      yield {
        entry: tarEntry({ type: 'file', name: blobPath(blob.digest), mode: 0o644, size: blob.size }),
        body: engine.content.open(blob.digest),
      }
    }
  const manifests = chosen.flatMap(({ descriptor, names }) =>
    (names.length ? names : [undefined]).map(name => annotated(descriptor, name)),
  )
  yield small('oci-layout', { imageLayoutVersion: '1.0.0' })
  yield small('index.json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  })
  yield small(
    'manifest.json',
    chosen.map(({ image, descriptor, names }) => ({
      Config: blobPath(image.id),
      RepoTags: names.length ? names : null,
      Layers: targetOf(image, descriptor.digest)?.layers.map(layer => blobPath(layer.blob)) ?? [],
    })),
  )
}
