import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { TaskControl } from '../../../archive/layer.ts'
import type { StackLayer } from '../../../archive/merged.ts'
import { MergedTree } from '../../../archive/mergedTree.ts'
import { mayRestore } from '../../../archive/metadata.ts'
import { type ByteString, baseOf, joinPath, toBytes } from '../../../archive/paths.ts'
import { owned, readLinkAt } from '../../../linux/files.ts'
import {
  type FileStat,
  isDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../../linux/stat.ts'
import { getXattr, pathAt, xattrNames } from '../../../linux/xattrs.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Selection } from '../../solver/types.ts'
import { missingSource, pathError } from '../file/errors.ts'
import { Filter, type Within } from '../file/filter.ts'
import { findMatches, hasWildcards } from '../file/glob.ts'
import { resolvePath, toPath } from '../file/resolve.ts'

/** What is selected of a stack, as a worker finds it: everything but the bytes, then the bytes of some. */

/** One name that is selected. Paths are byte strings. */
export interface SelectedEntry {
  /** As the selection sees it: below what it names, links on the way resolved. */
  path: ByteString
  /** Kind, mode, owner, link target, device, attributes, as far as they count. */
  header: string
  file?: SelectedFile
}

export interface SelectedFile {
  /** In the tree. */
  at: ByteString
  /** The same as long as the bytes are: device, inode, time of its last change, size. */
  identity: string
  size: number
}

export type ContentTask = { layers: readonly StackLayer[] } & (
  | { kind: 'select'; selection: Selection; ref: string }
  | { kind: 'digest'; paths: readonly ByteString[] }
)

const STEP = 256
const CHUNK = 1 << 20
/** What is read is hashed before anything else has a turn. */
const chunk = Buffer.allocUnsafeSlow(CHUNK)

/** Of regular files, links, directories and devices; a socket counts as what it is copied as. */
const attributesOf = (path: Buffer): string =>
  xattrNames(path)
    .filter(mayRestore)
    .sort()
    .map(name => `${name}=${getXattr(path, name)?.toString('base64')}`)
    .join(',')

/** A name, and the open directory that holds it, valid until the tree is asked again. */
interface Found {
  stat: FileStat
  dir?: number
}

class Selecting {
  readonly #tree: MergedTree
  readonly #selection: Selection
  readonly #filter: Filter
  readonly #found: SelectedEntry[] = []
  /** Directories that come as soon as something in them does. */
  readonly #parents: { entry: SelectedEntry; isFound: boolean }[] = []

  constructor(tree: MergedTree, selection: Selection) {
    this.#tree = tree
    this.#selection = selection
    this.#filter = new Filter(selection)
  }

  get found(): SelectedEntry[] {
    return this.#found
  }

  *run(ref: string): Generator<void> {
    const { path, wildcards, followLinks } = this.#selection
    const isPattern = wildcards && hasWildcards(path)
    const matches = isPattern ? findMatches(this.#tree, path, { followLast: followLinks }) : [toPath(path)]
    for (const match of matches) {
      const at = resolvePath(this.#tree, match, { followLast: followLinks })
      if (at !== '' && !this.#tree.stat(at)) throw missingSource(path, ref)
      // A pattern does not tell what it matched: that name is part of what is seen.
      yield* this.#visit({ at, relative: '', path: isPattern ? match : '' }, {})
    }
  }

  *#visit(
    { at, relative, path }: { at: ByteString; relative: ByteString; path: ByteString },
    within: Within,
  ): Generator<void> {
    yield
    const { isIncluded, isPruned, matched } = this.#filter.match(relative, within)
    if (isPruned) return
    const found = this.#look(at)
    if (!found) return
    const isFolder = isDirectory(found.stat)
    if (!isIncluded && !isFolder) return
    const entry = this.#entry(at, path, found)
    if (isIncluded) this.#take(entry)
    if (!isFolder) return
    this.#parents.push({ entry, isFound: isIncluded })
    for (const name of this.#tree.names(at))
      yield* this.#visit(
        { at: joinPath(at, name), relative: joinPath(relative, name), path: joinPath(path, name) },
        matched,
      )
    this.#parents.pop()
  }

  #take(entry: SelectedEntry): void {
    for (const parent of this.#parents) {
      if (!parent.isFound) this.#found.push(parent.entry)
      parent.isFound = true
    }
    this.#found.push(entry)
  }

  /** The root is no name in a directory. */
  #look(at: ByteString): Found | undefined {
    if (at !== '') return this.#tree.find(at)
    const stat = this.#tree.stat('')
    return stat && { stat }
  }

  #entry(at: ByteString, path: ByteString, found: Found): SelectedEntry {
    const header = this.#header(at, found)
    const { mode, device, inode, ctime, size } = found.stat
    if ((mode & S_IFMT) !== S_IFREG) return { path, header }
    return { path, header, file: { at, identity: `${device}:${inode}:${ctime}:${size}`, size } }
  }

  #header(at: ByteString, { stat, dir }: Found): string {
    const { ignoreMode, ignoreOwner } = this.#selection
    const type = stat.mode & S_IFMT
    const isLink = type === S_IFLNK
    const name = toBytes(baseOf(at))
    return [
      type.toString(8),
      ignoreMode || isLink ? '' : (stat.mode & 0o7777).toString(8),
      ignoreOwner ? '' : `${stat.uid}:${stat.gid}`,
      isLink && dir !== undefined ? readLinkAt(dir, name).toString('base64') : '',
      type === S_IFCHR || type === S_IFBLK ? `${stat.rdevMajor}:${stat.rdevMinor}` : '',
      dir === undefined ? '' : attributesOf(pathAt(dir, name)),
    ].join(' ')
  }
}

const select = async (
  tree: MergedTree,
  { selection, ref }: { selection: Selection; ref: string },
  control: TaskControl,
): Promise<SelectedEntry[]> => {
  const selecting = new Selecting(tree, selection)
  let count = 0
  for (const _ of selecting.run(ref)) {
    if (++count % STEP !== 0) continue
    await setImmediate()
    control.check()
  }
  return selecting.found
}

const digestFile = async (tree: MergedTree, path: ByteString, control: TaskControl): Promise<Digest> => {
  const fd = tree.open(path)
  if (fd === undefined) throw pathError('open', path, 'ENOENT')
  using file = owned(fd)
  const hash = createHash('sha256')
  for (let count = readSync(file.fd, chunk); count > 0; count = readSync(file.fd, chunk)) {
    hash.update(chunk.subarray(0, count))
    if (count < CHUNK) continue
    await setImmediate()
    control.check()
  }
  return `sha256:${hash.digest('hex')}`
}

const digests = async (
  tree: MergedTree,
  paths: readonly ByteString[],
  control: TaskControl,
): Promise<Digest[]> => {
  const found: Digest[] = []
  for (const path of paths) {
    found.push(await digestFile(tree, path, control))
    if (found.length % STEP !== 0) continue
    await setImmediate()
    control.check()
  }
  return found
}

/** Errors: `not-found` in BuildKit's words, `bad-request`, `cancelled`. */
export const task = async (input: ContentTask, control: TaskControl): Promise<SelectedEntry[] | Digest[]> => {
  using tree = new MergedTree(input.layers)
  if (input.kind === 'select') return await select(tree, input, control)
  return await digests(tree, input.paths, control)
}
