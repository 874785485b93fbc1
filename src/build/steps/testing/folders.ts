import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { StackLayer } from '../../../archive/merged.ts'
import { MergedTree } from '../../../archive/mergedTree.ts'
import { joinPath, toBytes } from '../../../archive/paths.ts'
import { WorkerPool } from '../../../archive/pool.ts'
import { isDirectory } from '../../../linux/stat.ts'
import type { FileAction, FileOperation } from '../../graph/types.ts'
import { copyAction } from '../../plan/context.ts'
import { type FileInput, runFile } from '../file/runFile.ts'

/** Folders for the tests of steps: layers without a store, and what operations make of them. */

export interface Folders extends AsyncDisposable {
  root: string
  pool: WorkerPool
  /** A new folder. */
  folder(): string
  /** Does actions on files over layers, with input 0. */
  run(actions: FileAction[], given?: RunGiven): Promise<Outcome>
}

export interface RunGiven {
  /** Bottom first. */
  base?: string[]
  inputs?: FileInput[]
  linked?: ReadonlySet<number>
  signal?: AbortSignal
}

export interface Outcome {
  /** What was written. */
  path: string
  layers: StackLayer[]
  linked: readonly number[]
  /** The whole tree, a line a path: `etc/hosts 100644 0:0 text`. */
  tree(): string[]
}

const line = (tree: MergedTree, path: string): string => {
  const stat = tree.stat(path)
  if (!stat) return `${path} is not there`
  const fd = stat.mode >> 12 === 0o10 ? tree.open(path) : undefined
  const text = fd === undefined ? '' : ` ${readFileSync(fd, 'utf8')}`
  const link = stat.mode >> 12 === 0o12 ? ` -> ${tree.readLink(path)}` : ''
  return `${toBytes(path)} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid}${text}${link}`
}

/** A stack without a mount. */
export const treeOf = (layers: readonly StackLayer[]): string[] => {
  using tree = new MergedTree(layers)
  const walk = (path: string): string[] =>
    tree.names(path).flatMap(name => {
      const here = joinPath(path, name)
      const stat = tree.stat(here)
      return [line(tree, here), ...(stat && isDirectory(stat) ? walk(here) : [])]
    })
  return walk('')
}

/** Files by path; one that ends with a slash is a folder. */
export const fill = (folder: string, files: Record<string, string>): string => {
  for (const [path, content] of Object.entries(files)) {
    const at = join(folder, path)
    mkdirSync(path.endsWith('/') ? at : dirname(at), { recursive: true })
    if (!path.endsWith('/')) writeFileSync(at, content)
  }
  return folder
}

/** The paths of a tree's lines. */
export const names = (lines: readonly string[]): string[] => lines.map(text => text.split(' ')[0] ?? '')

/** An action of COPY as the Dockerfile's plan makes it. */
export const copyOf = (
  source: string,
  destination: string,
  more: Partial<Extract<FileAction, { kind: 'copy' }>> = {},
): FileAction =>
  copyAction({
    from: 0,
    source,
    destination,
    followLinks: true,
    contentsOnly: true,
    createDestination: true,
    wildcards: true,
    allowEmpty: true,
    ...more,
  })

/** One for all tests of a file; idle it keeps nothing alive. */
const pool = new WorkerPool(1)

export const openFolders = (): Folders => {
  const root = mkdtempSync('/tmp/berth-steps-')
  let count = 0
  const folder = (): string => {
    const path = join(root, `folder${count++}`)
    mkdirSync(path, { mode: 0o755 })
    return path
  }
  return {
    root,
    pool,
    folder,
    run: async (actions, given = {}) => {
      const { base = [], inputs = [], linked = new Set<number>(), signal } = given
      const operation: FileOperation = {
        kind: 'file',
        base: base.length > 0 ? inputs.length : undefined,
        actions,
      }
      const path = folder()
      const below = base.map(layer => ({ path: layer }))
      return await runFile(operation, {
        pool,
        inputs,
        signal: signal ?? new AbortController().signal,
        begin: async () => ({
          root: path,
          below,
          linked,
          commit: async ({ linked: now }) => {
            const layers = [...below, { path }]
            return { path, layers, linked: now, tree: () => treeOf(layers) }
          },
          [Symbol.asyncDispose]: async () => {},
        }),
      })
    },
    [Symbol.asyncDispose]: async () => {
      rmSync(root, { recursive: true, force: true })
    },
  }
}
