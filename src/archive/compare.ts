import { readFileSync } from 'node:fs'
import { SystemError } from '../linux/ffi.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { type FileStat, isDirectory, isWhiteout, statFd, statIfThere } from '../linux/stat.ts'
import { getXattr, pathAt } from '../linux/xattrs.ts'
import type { Digest } from '../oci/digest.ts'
import { Budget } from './budget.ts'
import { ContentComparison } from './compareContent.ts'
import {
  copyProblems,
  entryProblems,
  impliedProblems,
  missing,
  type Place,
  rootProblems,
} from './compareEntry.ts'
import { Directories } from './directories.ts'
import { isDiskError } from './diskErrors.ts'
import { feed, LayerRules, type TaskControl } from './layer.ts'
import {
  type MergedDirectory,
  mergedRoot,
  namesOf,
  OPAQUE,
  type StackLayer,
  type WhiteoutRecord,
  withMerged,
} from './merged.ts'
import { Pace } from './pace.ts'
import { type TarHandler, TarParser } from './parser.ts'
import {
  type ByteString,
  baseOf,
  cleanPath,
  comparePaths,
  joinPath,
  parentOf,
  show,
  toByteString,
  toBytes,
} from './paths.ts'
import type { TarEntry } from './types.ts'
import { holdsDirectory, type Mark, type Wanted, WantedTree, wantedOf } from './wantedTree.ts'

/** Comparing an unpacked layer with the archive that it was made of, without unpacking that again. */

export interface CompareTask {
  /** The blob's file and size. */
  blob: string
  blobSize: number
  /** What was unpacked. */
  directory: string
  /** The file with its WhiteoutRecord, where whiteouts are not in the directory. */
  record?: string
  /** The layers below, bottom first: a layer may have content and metadata of theirs. */
  below: StackLayer[]
}

export interface Difference {
  /** For messages. */
  path: string
  /** Goes on from the path: `is missing`. */
  what: string
}

export interface Comparison {
  /** Of the uncompressed archive. */
  diffId: Digest
  /** Paths that differ. */
  count: number
  /** The first of them, in byte order. */
  differences: Difference[]
}

/** So many are told one by one. */
const TOLD = 20

interface Link {
  path: ByteString
  own: Wanted
  target: ByteString
  /** What was at the target when the link was made. */
  was: Wanted
}

const isAbsent = (error: unknown): boolean =>
  error instanceof SystemError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)

/**
 * Looks at each entry's place in the tree while the archive goes by; the last
 * entry of a path counts. Memory: the paths.
 */
class TreeComparison implements TarHandler, Disposable {
  readonly #dirs: Directories
  readonly #rules = new LayerRules()
  readonly #wanted = new WantedTree()
  readonly #problems = new Map<ByteString, string>()
  readonly #links: Link[] = []
  /** Links whose targets come later in the archive, or lie in the layers below: by path. */
  readonly #late = new Map<ByteString, { given: ByteString; target: ByteString }>()
  #content: ContentComparison | undefined
  /** The path of that content. */
  #compared: ByteString = ''

  constructor(root: number) {
    this.#dirs = new Directories(root)
  }

  entry(entry: TarEntry): void {
    const path = cleanPath(toByteString(entry.name))
    if (this.#rules.skip(entry, path) || path === '') return
    this.#reading(path, () => this.#entry(entry, path))
  }

  #entry(entry: TarEntry, path: ByteString): void {
    const place = this.#place(path)
    this.#late.delete(place.path)
    if (entry.type === 'link') {
      this.#link(entry, place.path)
      return
    }
    this.#want(place.path, wantedOf(entry))
    this.#tell(place.path, entryProblems(entry, place))
    if (entry.type !== 'file') return
    this.#content = ContentComparison.of(entry, place)
    this.#compared = place.path
  }

  /** One to what is not there yet is made at the end, and takes nothing away until then. */
  #link({ linkName }: TarEntry, path: ByteString): void {
    const given = cleanPath(toByteString(linkName))
    const target = this.#place(given).path
    const was = this.#wanted.get(target)
    if (!was) this.#late.set(path, { given, target })
    // A link to itself leaves the file as it is.
    else if (target !== path) this.#links.push({ path, own: this.#want(path, { type: 'link' }), target, was })
  }

  data(chunk: Buffer, offset: number): void {
    this.#content?.data(chunk, offset)
  }

  close(): void {
    using content = this.#content
    this.#content = undefined
    if (content && !content.end()) this.#tell(this.#compared, ['has other content'])
  }

  [Symbol.dispose](): void {
    this.#content?.[Symbol.dispose]()
    this.#dirs[Symbol.dispose]()
  }

  /** What only the whole archive tells: links, whiteouts, what is too much. */
  async finish(task: CompareTask, rest: () => Promise<void>): Promise<Omit<Comparison, 'diffId'>> {
    const { whiteouts, opaques } = this.#wanted.marks(this.#rules, {
      place: path => this.#place(path).path,
      isLate: path => this.#late.has(path),
    })
    this.#compareLinks()
    this.#compareLate(task.below)
    if (task.record === undefined) this.#compareWhiteouts(whiteouts)
    else
      this.#compareRecord(task.record, { whiteouts: namesOfMarks(whiteouts), opaques: namesOfMarks(opaques) })
    this.#compareImplied(task.below)
    this.#tell('', rootProblems(this.#rules.root, statFd(this.#dirs.root)))
    const inTree = task.record === undefined ? new Set(opaques.map(({ path }) => path)) : undefined
    await this.#walk(inTree, rest)
    const all = [...this.#problems].sort(([a], [b]) => comparePaths(a, b))
    const differences = all.slice(0, TOLD).map(([path, what]) => ({ path: show(`/${path}`), what }))
    return { count: all.length, differences }
  }

  /** A disk's own failure is a difference like any other. */
  #reading(path: ByteString, read: () => void): void {
    try {
      read()
    } catch (error) {
      if (!isDiskError(error)) throw error
      this.#tell(path, ['cannot be read: the disk gives an error'])
    }
  }

  #tell(path: ByteString, found: readonly string[]): void {
    if (found.length === 0) return
    const before = this.#problems.get(path)
    this.#problems.set(path, [...(before === undefined ? [] : [before]), ...found].join(', '))
  }

  /** The last entry of a path counts, and so do the problems with it alone. */
  #want(path: ByteString, wanted: Wanted): Wanted {
    this.#problems.delete(path)
    if (this.#wanted.put(path, wanted))
      for (const name of this.#problems.keys()) if (name.startsWith(`${path}/`)) this.#problems.delete(name)
    return wanted
  }

  #place(path: ByteString): Place {
    const parent = this.#wanted.realDirectory(parentOf(path))
    return { path: joinPath(parent, baseOf(path)), dir: this.#find(parent), name: toBytes(baseOf(path)) }
  }

  #find(path: ByteString): number | undefined {
    try {
      return this.#dirs.find(path)
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
  }

  #compareLinks(): void {
    // What was replaced later is another file by now.
    for (const { path, own, target, was } of this.#links)
      if (this.#wanted.get(path) === own && this.#wanted.get(target) === was)
        this.#reading(path, () => this.#compareLink(path, target))
  }

  #compareLink(path: ByteString, target: ByteString): void {
    const [stat, other] = [this.#statOf(path), this.#statOf(target)]
    if (!stat) this.#tell(path, [missing])
    else if (other?.inode !== stat.inode) this.#tell(path, [`is no hard link to ${show(`/${target}`)}`])
  }

  #statOf(path: ByteString): FileStat | undefined {
    const { dir, name } = this.#place(path)
    return dir === undefined ? undefined : statIfThere(dir, name)
  }

  #compareLate(layers: readonly StackLayer[]): void {
    using below = new LayersBelow(layers)
    for (const [path, { given, target }] of this.#late) {
      const isOwn = this.#wanted.get(target) !== undefined
      this.#wanted.putLate(path)
      this.#reading(path, () => {
        const stat = this.#statOf(path)
        if (!stat) this.#tell(path, [missing])
        else if (isOwn) this.#compareLink(path, target)
        else this.#compareCopy(this.#place(path), stat, { below: below.root, target: given })
      })
    }
  }

  #compareCopy(place: Place, stat: FileStat, from: { below: MergedDirectory; target: ByteString }): void {
    withMerged(from.below, from.target, found =>
      this.#tell(
        place.path,
        copyProblems(found && { ...found, name: toBytes(baseOf(from.target)) }, place, stat),
      ),
    )
  }

  #compareWhiteouts(whiteouts: readonly Mark[]): void {
    for (const { path } of whiteouts) {
      this.#wanted.put(path, { type: 'whiteout' })
      this.#reading(path, () => {
        const stat = this.#statOf(path)
        if (!stat) this.#tell(path, ['is to be hidden, and its whiteout is missing'])
        else if (!isWhiteout(stat)) this.#tell(path, ['is to be hidden, and is there'])
      })
    }
  }

  #compareRecord(file: string, marks: WhiteoutRecord): void {
    let found: WhiteoutRecord = { whiteouts: [], opaques: [] }
    try {
      found = JSON.parse(readFileSync(file, 'utf8')) as WhiteoutRecord
    } catch {
      // Lost or damaged: then nothing of it is there.
    }
    for (const kind of ['whiteouts', 'opaques'] as const) {
      const [due, there] = [new Set(marks[kind]), new Set(found[kind])]
      for (const path of due.symmetricDifference(there))
        this.#tell(path, [due.has(path) ? 'is to be hidden, and is not' : 'is hidden, and should not be'])
    }
  }

  #compareImplied(layers: readonly StackLayer[]): void {
    using below = new LayersBelow(layers)
    for (const [path, { type }] of this.#wanted.entries()) {
      if (type !== 'implied') continue
      const place = this.#place(path)
      this.#reading(path, () =>
        withMerged(below.root, path, found => this.#tell(path, impliedProblems(place, found?.stat))),
      )
    }
  }

  /** `opaques` is absent where the tree itself does not tell of them. */
  async #walk(opaques: ReadonlySet<ByteString> | undefined, rest: () => Promise<void>): Promise<void> {
    const waiting: ByteString[] = ['']
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const at = path
      this.#reading(at, () => {
        for (const child of this.#compareNames(at, opaques)) waiting.push(child)
      })
      await rest()
    }
  }

  /** Gives the directories in it. */
  #compareNames(path: ByteString, opaques: ReadonlySet<ByteString> | undefined): ByteString[] {
    const dir = this.#find(path)
    if (dir === undefined) return []
    if (opaques) this.#compareOpaque(path, dir, opaques.has(path))
    return namesOf(dir)
      .filter(name => {
        const child = joinPath(path, name)
        const wanted = this.#wanted.get(child)
        if (!wanted) this.#tell(child, ['is not in the blob'])
        return wanted !== undefined && holdsDirectory(wanted) && isDirectoryAt(dir, name)
      })
      .map(name => joinPath(path, name))
  }

  #compareOpaque(path: ByteString, dir: number, wanted: boolean): void {
    const is = getXattr(pathAt(dir, '.'), OPAQUE)?.toString() === 'y'
    if (wanted && !is) this.#tell(path, ['is to hide all that is below it, and does not'])
    if (is && !wanted) this.#tell(path, ['hides all that is below it, and should not'])
  }
}

/** Opened when first needed: most layers have nothing of those below. */
class LayersBelow implements Disposable {
  readonly #layers: readonly StackLayer[]
  #root: MergedDirectory | undefined

  constructor(layers: readonly StackLayer[]) {
    this.#layers = layers
  }

  get root(): MergedDirectory {
    this.#root ??= mergedRoot(this.#layers)
    return this.#root
  }

  [Symbol.dispose](): void {
    this.#root?.[Symbol.dispose]()
  }
}

const namesOfMarks = (marks: readonly Mark[]): ByteString[] => marks.map(({ name }) => name)

const isDirectoryAt = (dir: number, name: ByteString): boolean => {
  const stat = statIfThere(dir, toBytes(name))
  return stat !== undefined && isDirectory(stat)
}

/** Errors: `bad-request` where the archive is damaged, SystemError where a layer's directory is not there. */
export const compareLayer = async (task: CompareTask, control: TaskControl): Promise<Comparison> => {
  using root = owned(openAt(AT_FDCWD, task.directory, O_RDONLY | O_DIRECTORY))
  using comparison = new TreeComparison(root.fd)
  const pace = new Pace()
  const rest = async (): Promise<void> => {
    await pace.rest()
    control.check()
  }
  const paced = { check: () => control.check(), progress: (bytes: number) => control.progress(bytes), rest }
  const diffId = await feed(task, new TarParser(comparison), new Budget(root.fd), paced)
  return { diffId, ...(await comparison.finish(task, rest)) }
}
