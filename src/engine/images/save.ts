import type { OutgoingMember } from '../../archive/writer.ts'
import type { Digest } from '../../oci/digest.ts'
import { parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Engine } from '../engine.ts'
import {
  blobFolders,
  blobMember,
  blobPath,
  jsonMember,
  layoutMembers,
  namedDescriptor,
} from './imageArchive.ts'
import type { Saved } from './saved.ts'
import { targetOf } from './siblings.ts'

/**
 * `GET /images/{name}/get`: an archive that is an OCI layout and, by its
 * manifest.json, a Docker one. Blobs are sent as they were received.
 */
export async function* saveImages(engine: Engine, chosen: readonly Saved[]): AsyncGenerator<OutgoingMember> {
  using leases = new DisposableStack()
  for (const { images } of chosen) for (const { id } of images) leases.use(engine.images.lease(id))
  const sent = new Set<Digest>()
  yield* blobFolders()
  for (const { blobs } of chosen)
    for (const blob of blobs) {
      if (sent.has(blob.digest)) continue
      sent.add(blob.digest)
      yield blobMember(blob, engine.content.open(blob.digest))
    }
  yield* layoutMembers(
    chosen.flatMap(({ descriptor, names }) =>
      names.length > 0
        ? names.map(name => namedDescriptor(descriptor, withDefaultTag(parseReference(name))))
        : [descriptor],
    ),
  )
  yield jsonMember(
    'manifest.json',
    chosen.map(({ image, descriptor, names }) => ({
      Config: blobPath(image.id),
      RepoTags: names.length ? names : null,
      Layers: targetOf(image, descriptor.digest)?.layers.map(layer => blobPath(layer.blob)) ?? [],
    })),
  )
}
