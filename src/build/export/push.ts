import { badRequest } from '../../core/errors.ts'
import { pushImages } from '../../engine/images/push.ts'
import { canonical, type Reference } from '../../oci/reference.ts'
import type { Credentials } from '../../registry-client/types.ts'
import type { ExportStep } from './types.ts'

/** Of a client, for a registry. */
export type CredentialsOf = (domain: string, signal: AbortSignal) => Promise<Credentials | undefined>

/** What the store has under these names goes to their registries. Errors: `bad-request` without a name, the registries'. */
export const pushNames = async (
  { engine, operation, say }: ExportStep,
  names: readonly Reference[],
  credentialsOf: CredentialsOf,
): Promise<void> => {
  if (names.length === 0) throw badRequest('tag is needed when pushing to registry')
  for (const name of names) {
    say(`pushing ${canonical(name)}`)
    const credentials = await credentialsOf(name.domain, operation.signal)
    await pushImages(engine, {
      ...{ name, platform: undefined, credentials, operation, report: () => {} },
      // The client is told its digest.
      isExact: true,
    })
  }
}
