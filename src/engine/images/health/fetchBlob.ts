import { abandonable } from '../../../core/abort.ts'
import { messageOf } from '../../../core/errors.ts'
import type { Repository } from '../../../registry-client/types.ts'
import type { Engine } from '../../engine.ts'
import { forgetFetched } from '../fetched.ts'
import { type BlobNeed, repositoriesOf } from './census.ts'
import type { CheckRequest } from './types.ts'

/** Documents are small. */
const maxDocument = 4 << 20

const fetchDocument = async (
  engine: Engine,
  { digest }: BlobNeed,
  from: { repository: Repository; signal: AbortSignal },
): Promise<void> => {
  const { bytes } = await from.repository.manifest(digest, from.signal)
  await engine.content.put(bytes)
}

const fetchBytes = async (
  engine: Engine,
  { digest, size = 0 }: BlobNeed,
  { repository, signal }: { repository: Repository; signal: AbortSignal },
): Promise<void> => {
  const descriptor = { mediaType: 'application/octet-stream', digest, size }
  using fetching = engine.fetches.join(repository, descriptor, () => {})
  await abandonable(signal, fetching.stored)
  await forgetFetched(engine.database, [digest])
}

/** By the door that it should come by, then by the other. */
const doorsOf = ({ isDocument, size = 0 }: BlobNeed) => {
  if (isDocument) return [fetchDocument]
  return size <= maxDocument ? [fetchBytes, fetchDocument] : [fetchBytes]
}

/**
 * Brings a blob that is not there from where the names of its images tell. Gives
 * the repository that had it, or why none did.
 */
export const fetchBlob = async (
  engine: Engine,
  need: BlobNeed,
  { credentials, operation }: Pick<CheckRequest, 'credentials' | 'operation'>,
): Promise<{ from: string } | { why: string }> => {
  const failures: string[] = []
  for (const { domain, path, shown } of repositoriesOf(engine, need.images)) {
    operation.at(`fetching ${need.digest} from ${shown}`)
    const repository = engine.registries.repository(domain, path, credentials(domain))
    for (const door of doorsOf(need))
      try {
        await door(engine, need, { repository, signal: operation.signal })
        return { from: shown }
      } catch (error) {
        operation.signal.throwIfAborted()
        failures.push(`${shown}: ${messageOf(error)}`)
      }
  }
  return { why: failures[0] === undefined ? 'no name tells a registry that has it' : failures.join('; ') }
}
