import { mkdirSync, openSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { WorkerPool } from '../../archive/pool.ts'
import { extractTree } from '../../archive/trees.ts'
import { newId } from '../../core/ids.ts'
import { owned } from '../../linux/files.ts'
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
const leaveOut = (root: string, patterns: readonly string[]): void => {
  const matcher = new IgnoreMatcher([...patterns])
  const walk = (folder: string): void => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const name = path.posix.join(folder, entry.name)
      const ignored = matcher.ignores(name)
      const isFolder = entry.isDirectory()
      if (isFolder && (!ignored || matcher.hasExceptions)) walk(name)
      else if (ignored) rmSync(path.join(root, name), { recursive: true, force: true })
    }
    const isEmpty = folder !== '' && readdirSync(path.join(root, folder)).length === 0
    if (isEmpty && matcher.ignores(folder)) rmSync(path.join(root, folder), { recursive: true })
  }
  walk('')
}

/** Unpacks the archive; it is gone when the client is disposed of. Errors: `bad-request` for what is none, `archive-breakout`. */
export const archiveClient = async (parts: ArchiveParts): Promise<BuildClient> => {
  const { pool, root, trash, source, signal } = parts
  const folder = path.join(root, newId())
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  try {
    await extractTree(pool, { root: folder, path: '', source, owner: { uid: 0, gid: 0 }, signal })
  } catch (error) {
    trash.take(folder)
    throw error
  }
  return {
    session: '',
    folder: async ({ exclude = [] }) => {
      if (exclude.length > 0) leaveOut(folder, exclude)
      return { path: folder, entries: [], [Symbol.asyncDispose]: async () => {} }
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
