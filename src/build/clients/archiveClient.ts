import { mkdirSync, openSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import type { WorkerPool } from '../../archive/pool.ts'
import { extractTree } from '../../archive/trees.ts'
import { newId } from '../../core/ids.ts'
import { owned } from '../../linux/files.ts'
import { makeTreesFolder } from '../../linux/unrelatedTrees.ts'
import type { Credentials } from '../../registry-client/types.ts'
import type { Trash } from '../../store/trash.ts'
import { IgnoreMatcher } from '../dockerfile/ignore.ts'
import { readContained } from './readContained.ts'
import type { BuildClient } from './types.ts'

/** Who sends the context as an archive with the request: it has neither secrets nor agents. */

export interface ArchiveParts {
  pool: WorkerPool
  /** Folders for what is unpacked; all in it are removed at a start. */
  root: string
  trash: Pick<Trash, 'take'>
  source: AsyncIterable<Uint8Array>
  credentials(domain: string): Credentials | undefined
  signal: AbortSignal
}

/** Takes away what is left out, so that no step sees it. */
const leaveOut = async (root: string, patterns: readonly string[]): Promise<void> => {
  const matcher = new IgnoreMatcher([...patterns])
  const walk = async (folder: string): Promise<void> => {
    for (const entry of await readdir(path.join(root, folder), { withFileTypes: true })) {
      const name = path.posix.join(folder, entry.name)
      const ignored = matcher.ignores(name)
      if (entry.isDirectory() && (!ignored || matcher.hasExceptions)) await walk(name)
      else if (ignored) await rm(path.join(root, name), { recursive: true, force: true })
    }
    if (folder !== '' && matcher.ignores(folder) && (await readdir(path.join(root, folder))).length === 0)
      await rm(path.join(root, folder), { recursive: true })
  }
  await walk('')
}

/** Unpacks the archive; it is gone when the client is disposed of. Errors: `bad-request` for what is none, `archive-breakout`. */
export const archiveClient = async (parts: ArchiveParts): Promise<BuildClient> => {
  const { pool, root, trash, source, signal } = parts
  const folder = path.join(root, newId())
  makeTreesFolder(root, 0o700)
  mkdirSync(folder, { mode: 0o700 })
  try {
    await extractTree(pool, { root: folder, path: '', source, owner: { uid: 0, gid: 0 }, signal })
  } catch (error) {
    trash.take(folder)
    throw error
  }
  return {
    session: '',
    folder: async ({ exclude = [] }) => {
      if (exclude.length > 0) await leaveOut(folder, exclude)
      return { path: folder, version: newId(), entries: [], [Symbol.asyncDispose]: async () => {} }
    },
    readFiles: async (_name, paths) => {
      using opened = owned(openSync(folder, 'r'))
      return new Map(
        paths.flatMap(name => {
          const bytes = readContained(opened.fd, name)
          return bytes ? [[name, bytes] as const] : []
        }),
      )
    },
    secret: async () => undefined,
    agent: async () => undefined,
    store: () => undefined,
    credentials: async domain => parts.credentials(domain),
    [Symbol.dispose]: () => trash.take(folder),
  }
}
