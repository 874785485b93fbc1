import { createHash } from 'node:crypto'
import type { StackLayer } from '../../../archive/merged.ts'
import { toBytes } from '../../../archive/paths.ts'
import type { WorkerPool } from '../../../archive/pool.ts'
import { internal } from '../../../core/errors.ts'
import type { RecentlyUsed } from '../../../core/recentlyUsed.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Selection } from '../../solver/types.ts'
import type { ContentTask, SelectedEntry, SelectedFile } from './contentTask.ts'

/** What a step sees of an input, in one digest: names, kinds, modes, owners, link targets, attributes and bytes; no times. */

export interface ContentRequest {
  pool: WorkerPool
  /** Bottom first; nothing is mounted. */
  layers: readonly StackLayer[]
  selection: Selection
  /** What the tree is called where something is not found in it. */
  ref?: string
  /** Digests of bytes that are known already, by the path in the tree: those of a client's context as they came. */
  known?: (path: string) => Digest | undefined
  /** Of files by what makes them the same. */
  digests: RecentlyUsed<Digest>
  /** So many paths are told, with what each adds; none unless told. */
  explained?: number
  signal: AbortSignal
}

export interface ContentDigest {
  digest: Digest
  /** What of the selection was where: each path with 16 hex digits that change with it, in the order of the walk. */
  paths: [path: string, digest: string][]
  /** Some paths are not told: there were more than were asked for. */
  isCut: boolean
}

const module = new URL('./contentTask.ts', import.meta.url).href

/** Files of one task: several workers share what is to be read. */
const BATCH = 2_000
const BATCH_BYTES = 256 << 20

const run = async <Result>({ pool, signal }: ContentRequest, input: ContentTask): Promise<Result> =>
  (await pool.run('module', { module, input }, { signal })) as Result

const text = (path: string): string => toBytes(path).toString('utf8')

/** Batches of files that are to be read, each file once. */
const batches = (files: Iterable<SelectedFile>): SelectedFile[][] => {
  const all: SelectedFile[][] = []
  let bytes = 0
  for (const file of files) {
    const last = all.at(-1)
    bytes += file.size
    if (last && last.length < BATCH && bytes < BATCH_BYTES) last.push(file)
    else {
      all.push([file])
      bytes = file.size
    }
  }
  return all
}

/** Digests of all files that are selected, by their identity. */
const digestFiles = async (
  request: ContentRequest,
  entries: readonly SelectedEntry[],
): Promise<Map<string, Digest>> => {
  const found = new Map<string, Digest>()
  const unread = new Map<string, SelectedFile>()
  for (const { file } of entries) {
    if (!file) continue
    const known = request.known?.(text(file.at))
    const digest = known ?? request.digests.get(file.identity)
    if (digest === undefined) unread.set(file.identity, file)
    else found.set(file.identity, digest)
    if (known !== undefined) request.digests.set(file.identity, known)
  }
  const read = async (files: SelectedFile[]): Promise<void> => {
    const paths = files.map(({ at }) => at)
    const { layers } = request
    const digests = await run<Digest[]>(request, { layers, kind: 'digest', paths })
    for (const [index, { identity }] of files.entries()) {
      const digest = digests[index]
      if (digest === undefined) throw internal(`no digest of ${identity}`)
      found.set(identity, digest)
      request.digests.set(identity, digest)
    }
  }
  await Promise.all(batches(unread.values()).map(read))
  return found
}

/**
 * Errors: `not-found` in BuildKit's words where the selection names what is not there, `bad-request` for a pattern
 * that is none, `cancelled`. A pattern that matches nothing has the digest of nothing.
 */
export const contentDigest = async (request: ContentRequest): Promise<ContentDigest> => {
  const { layers, selection, ref = 'input', explained = 0 } = request
  const entries = await run<SelectedEntry[]>(request, { layers, kind: 'select', selection, ref })
  const files = await digestFiles(request, entries)
  const whole = createHash('sha256')
  const paths: [string, string][] = []
  for (const { path, header, file } of entries) {
    const content = file ? (files.get(file.identity) ?? '') : ''
    const own = createHash('sha256').update(`${header}\0${content}`).digest('hex')
    whole.update(`${path}\0${own}\n`, 'latin1')
    if (paths.length < explained) paths.push([`/${text(path)}`, own.slice(0, 16)])
  }
  return {
    digest: `sha256:${whole.digest('hex')}`,
    paths,
    isCut: explained > 0 && paths.length < entries.length,
  }
}
