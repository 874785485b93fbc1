import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { ImageSource } from '../../registry-client/types.ts'
import type { Engine } from '../engine.ts'
import { noteFetched } from './fetched.ts'
import { manifestOf } from './pullPlan.ts'

/** What BuildKit says of an image, pulled beside it: a few documents, that go as they come into the store. */

interface AttestationPull {
  attestations: readonly Descriptor[]
  repository: ImageSource
  signal: AbortSignal
  /** Gets a hold on each blob, which no image names yet. */
  holds: DisposableStack
}

const fetchBlob = async (
  engine: Engine,
  descriptor: Descriptor,
  { repository, signal, holds }: AttestationPull,
): Promise<void> => {
  const { digest, size } = descriptor
  holds.use(engine.fetches.hold(digest))
  if (await engine.content.info(digest)) return
  await noteFetched(engine.database, digest)
  await engine.content.write(repository.blob(descriptor, { signal }), { expected: { digest, size }, signal })
  failpoint('pull.attestation')
}

/** Gives what the store has of them now; where the pull fails it stays for the next, as layers do. */
export const fetchAttestations = async (engine: Engine, pull: AttestationPull): Promise<Digest[]> => {
  const brought: Digest[] = []
  for (const { digest } of pull.attestations) {
    pull.holds.use(engine.fetches.hold(digest))
    const answer = await pull.repository.manifest(digest, pull.signal)
    const { config, layers } = manifestOf(answer)
    for (const descriptor of [config, ...(layers ?? [])]) {
      await fetchBlob(engine, descriptor, pull)
      brought.push(descriptor.digest)
    }
    await noteFetched(engine.database, digest)
    await engine.content.put(answer.bytes)
    brought.push(digest)
  }
  return brought
}
