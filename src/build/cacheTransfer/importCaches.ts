import { messageOf, prefixed } from '../../core/errors.ts'
import type { Engine } from '../../engine/engine.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Build } from '../build.ts'
import { clientSource, readClientCache } from './clientCache.ts'
import { ImportedCache } from './imported.ts'
import type { ReadCache } from './readForm.ts'
import { readRegistryCache } from './readSources.ts'
import type { CacheSource } from './types.ts'

/** Reads the caches that a client names. One that cannot be read is shown as such, and the build goes on. */

export interface CacheImports {
  build: Build
  engine: Engine
  sources: readonly CacheSource[]
  /** Those that are built; the host's without. */
  platforms: readonly Platform[]
  /** Hears of what could not be used, for clients that do not see steps that are none of the Dockerfile's. */
  missed?: (why: string) => void
}

const readFolder = async (
  { build }: CacheImports,
  { folder, digest }: CacheSource & { kind: 'local' },
): Promise<ReadCache> => {
  const { client, signal } = build
  const reference = `local cache ${client.session} ${folder}`
  build.clientCaches.set(reference, clientSource(client, folder))
  return await readClientCache({ client, folder, digest, reference, signal })
}

const read = async (imports: CacheImports, source: CacheSource): Promise<ReadCache> => {
  if (source.kind === 'local') return await readFolder(imports, source)
  const { build, engine, platforms } = imports
  const { signal, client } = build
  return await readRegistryCache({
    ...{ engine, signal, name: source.name },
    platforms: platforms.length > 0 ? platforms : [hostPlatform],
    credentials: async (domain, asking) => await client.credentials(domain, asking),
  })
}

const importOne = async (imports: CacheImports, source: CacheSource): Promise<ReadCache | undefined> => {
  const { build, missed = () => {} } = imports
  try {
    return await build.step(`importing cache manifest from ${source.told}`, async () => {
      try {
        return await read(imports, source)
      } catch (error) {
        throw prefixed(`failed to configure ${source.kind} cache importer`, error)
      }
    })
  } catch (error) {
    if (build.signal.aborted) throw error
    missed(`${source.told}: ${messageOf(error)}`)
    return undefined
  }
}

/** Undefined where there is nothing in them. Errors: the build's end. */
export const importCaches = async (imports: CacheImports): Promise<ImportedCache | undefined> => {
  const { build, sources } = imports
  const all = await Promise.all(sources.map(source => importOne(imports, source)))
  const cache = new ImportedCache()
  for (const [index, found] of all.entries()) {
    const source = sources[index]
    if (!found || !source) continue
    cache.add(found.records)
    if (found.others === 0 || found.records.length > 0) continue
    const why = `the cache ${source.told} was written by another builder: its keys say nothing here`
    await build.step(`[internal] ${why}`, async () => {})
    imports.missed?.(why)
  }
  return all.some(found => found && found.records.length > 0) ? cache : undefined
}
