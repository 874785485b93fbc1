import type { IdMaps } from '../linux/idMaps.ts'
import { decompress } from './compression.ts'
import type { Owner } from './metadata.ts'
import { cleanPath, toByteString } from './paths.ts'
import type { WorkerPool } from './pool.ts'

/** Archives of live trees: `docker cp`, `export`, `import`. Work is done in the pool's workers. */

export interface ExtractTree {
  /** Host path that nothing leads out of: a container's mount, `/proc/<pid>/root`, a folder. */
  root: string
  /** Directory inside, resolved inside the root; it must be there. '' or '/' is the root. */
  path: string | Uint8Array
  /** An archive, compressed or not. */
  source: AsyncIterable<Uint8Array>
  /** Everything gets this owner instead of the archive's. */
  owner?: Owner
  /** A directory may not be replaced by another type, nor the other way round. */
  noOverwriteDirNonDir?: boolean
  /** The archive's owners are as inside of a user namespace with these. */
  maps?: IdMaps | undefined
  signal?: AbortSignal
}

const inside = (path: string | Uint8Array): string =>
  cleanPath(toByteString(typeof path === 'string' ? Buffer.from(path) : path))

/**
 * Unpacks an archive into a tree. Errors: `not-found` where the directory is
 * not there, `archive-breakout`, `bad-request`, `no-space`, `cancelled`.
 */
export const extractTree = async (pool: WorkerPool, wanted: ExtractTree): Promise<void> => {
  const { stream } = await decompress(wanted.source)
  await pool.run(
    'extract',
    {
      root: wanted.root,
      path: inside(wanted.path),
      keepKinds: wanted.noOverwriteDirNonDir ?? false,
      ...(wanted.owner ? { owner: wanted.owner } : {}),
      ...(wanted.maps ? { maps: wanted.maps } : {}),
    },
    { input: stream, ...(wanted.signal ? { signal: wanted.signal } : {}) },
  )
}

export interface PackTree {
  root: string
  /** What to pack; its parents are resolved inside the root, its last name is not followed. */
  path: string | Uint8Array
  /** Its name in the archive; '' packs what is in it without itself. The last part of `path` unless told. */
  as?: string
  /** The archive's owners are to be as inside of a user namespace with these. */
  maps?: IdMaps | undefined
  signal?: AbortSignal
}

/** A tree as an uncompressed tar; sockets are left out. Errors: `not-found` where there is nothing. */
export const packTree = (pool: WorkerPool, wanted: PackTree): AsyncGenerator<Buffer> =>
  pool.stream(
    'pack',
    {
      root: wanted.root,
      path: inside(wanted.path),
      ...(wanted.as === undefined ? {} : { as: toByteString(Buffer.from(wanted.as)) }),
      ...(wanted.maps ? { maps: wanted.maps } : {}),
    },
    wanted.signal ? { signal: wanted.signal } : {},
  )
