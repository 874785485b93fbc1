import { digestOf } from '../../oci/digest.ts'
import type { FileDigest } from './types.ts'

/**
 * Which files a content digest was made of, as they are kept to tell users which one changed: digests shortened,
 * and where there are too many, the deepest folders folded into one entry each, `path/`, whose digest is that of
 * what is in it. Folding twice gives what folding at once does, so that lists of unlike depths can be compared.
 */

const shownDigits = 16
const mostFiles = 2000
const mostCharacters = 64 << 10

export interface FileChange {
  path: string
  change: 'added' | 'removed' | 'changed'
  before?: string
  after?: string
}

const short = (digest: string): string => digest.slice(digest.indexOf(':') + 1).slice(0, shownDigits)

const trimmed = (path: string): string => path.replace(/^\/+|\/+$/g, '')

const depthOf = (path: string): number => {
  const parts = trimmed(path)
  return parts === '' ? 0 : parts.split('/').length
}

/** No spread: there may be more of them than a call takes arguments. */
const deepestOf = (files: readonly FileDigest[]): number =>
  files.reduce((depth, [path]) => Math.max(depth, depthOf(path)), 0)

const folderOf = (path: string): string => {
  const parts = trimmed(path)
  return parts.includes('/') ? `${parts.slice(0, parts.lastIndexOf('/'))}/` : '/'
}

const byPath = ([a]: FileDigest, [b]: FileDigest): number => (a < b ? -1 : a > b ? 1 : 0)

const isFolded = ([path]: FileDigest): boolean => path.endsWith('/')

/** All that is deeper goes into its folder at this depth. */
const foldTo = (files: readonly FileDigest[], depth: number): FileDigest[] => {
  let folded = [...files]
  for (let level = deepestOf(files); level > depth; level--) {
    const folders = new Map<string, FileDigest[]>()
    const rest: FileDigest[] = []
    for (const file of folded) {
      if (depthOf(file[0]) < level) rest.push(file)
      else {
        const folder = folderOf(file[0])
        const within = folders.get(folder)
        if (within) within.push(file)
        else folders.set(folder, [file])
      }
    }
    folded = [...rest, ...[...folders].map(([folder, within]) => [folder, digestOfFolder(within)] as const)]
  }
  return folded
}

const digestOfFolder = (within: FileDigest[]): string =>
  short(
    digestOf(
      within
        .toSorted(byPath)
        .map(([path, digest]) => `${path} ${digest}\n`)
        .join(''),
    ),
  )

const isTooLong = (files: readonly FileDigest[], limit: number): boolean =>
  files.length > limit || files.reduce((sum, [path]) => sum + path.length + shownDigits, 0) > mostCharacters

/** What is kept of a list, by path. */
export const keptFiles = (files: readonly FileDigest[], limit = mostFiles): FileDigest[] => {
  let kept = files.map(([path, digest]) => [trimmed(path), short(digest)] as const)
  let depth = deepestOf(kept)
  while (isTooLong(kept, limit) && depth > 0) kept = foldTo(kept, --depth).map(file => [...file])
  return kept.toSorted(byPath)
}

/** The depth from which nothing is told any more. */
const foldedAt = (files: readonly FileDigest[]): number =>
  files.filter(isFolded).reduce((depth, [path]) => Math.min(depth, depthOf(path)), Number.POSITIVE_INFINITY)

/** What differs between two lists as they are kept, by path. */
export const changesOf = (before: readonly FileDigest[], after: readonly FileDigest[]): FileChange[] => {
  const depth = Math.min(foldedAt(before), foldedAt(after))
  const [old, current] = [before, after].map(files => new Map(foldTo(files, depth))) as [
    Map<string, string>,
    Map<string, string>,
  ]
  const changes: FileChange[] = []
  for (const [path, digest] of current) {
    const known = old.get(path)
    if (known === undefined) changes.push({ path, change: 'added', after: digest })
    else if (known !== digest) changes.push({ path, change: 'changed', before: known, after: digest })
  }
  for (const [path, digest] of old)
    if (!current.has(path)) changes.push({ path, change: 'removed', before: digest })
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}
