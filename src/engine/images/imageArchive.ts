import type { OutgoingMember } from '../../archive/writer.ts'
import { tarEntry } from '../../archive/writer.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { canonical, type Reference } from '../../oci/reference.ts'

/** Archives of images: OCI layouts, and by their manifest.json Docker's, too. */

export const blobPath = (digest: Digest): string => `blobs/sha256/${digest.slice('sha256:'.length)}`

export const jsonMember = (name: string, value: unknown): OutgoingMember => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { entry: tarEntry({ type: 'file', name, mode: 0o644, size: bytes.length }), body: [bytes] }
}

/** What everything is in. */
export const blobFolders = (): OutgoingMember[] =>
  ['blobs/', 'blobs/sha256/'].map(name => ({ entry: tarEntry({ type: 'directory', name, mode: 0o755 }) }))

export const blobMember = (
  { digest, size }: { digest: Digest; size: number },
  body: OutgoingMember['body'],
): OutgoingMember => ({
  entry: tarEntry({ type: 'file', name: blobPath(digest), mode: 0o644, size }),
  ...(body ? { body } : {}),
})

/** A descriptor in the layout's index; with a name, as containerd writes it. */
export const namedDescriptor = (descriptor: Descriptor, reference: Reference | undefined): Descriptor => {
  if (!reference) return descriptor
  const annotations = {
    ...descriptor.annotations,
    'io.containerd.image.name': canonical(reference),
    'org.opencontainers.image.ref.name': reference.tag ?? '',
  }
  return { ...descriptor, annotations }
}

/** What makes a layout of blobs. */
export const layoutMembers = (manifests: readonly Descriptor[]): OutgoingMember[] => [
  jsonMember('oci-layout', { imageLayoutVersion: '1.0.0' }),
  jsonMember('index.json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  }),
]
