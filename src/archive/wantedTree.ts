import { type ByteString, comparePaths, joinPath, parentOf, toByteString } from './paths.ts'
import type { EntryType, TarEntry } from './types.ts'

/** The tree that an archive makes, as far as it has been read: names and types only. */

/** What is to be at a path: an archive's entry, a directory that none tells of, or a whiteout. */
export interface Wanted {
  type: EntryType | 'implied' | 'whiteout'
  /** Of a symbolic link. */
  target?: ByteString
}

/** So many symbolic links are followed on one way, as the kernel does. */
const LINKS = 40

export const wantedOf = ({ type, linkName }: TarEntry): Wanted =>
  type === 'symlink' ? { type, target: toByteString(linkName) } : { type }

export const holdsDirectory = ({ type }: Wanted): boolean => type === 'directory' || type === 'implied'

/** By real paths: of which no directory is a symbolic link. */
export class WantedTree {
  readonly #byPath = new Map<ByteString, Wanted>()

  get(path: ByteString): Wanted | undefined {
    return this.#byPath.get(path)
  }

  entries(): Iterable<[ByteString, Wanted]> {
    return this.#byPath
  }

  /** Puts it there, with the directories on the way. Gives true where it took the place of a directory, with all that was in it. */
  put(path: ByteString, wanted: Wanted): boolean {
    const before = this.#byPath.get(path)
    this.imply(parentOf(path))
    const isEnd = before !== undefined && holdsDirectory(before) && !holdsDirectory(wanted)
    if (isEnd)
      for (const name of this.#byPath.keys()) if (name.startsWith(`${path}/`)) this.#byPath.delete(name)
    this.#byPath.set(path, wanted)
    return isEnd
  }

  imply(path: ByteString): void {
    this.#make(path, 'implied')
  }

  /** At the end: directories on the way are made for it alone, and nothing tells their metadata. */
  putLate(path: ByteString): void {
    this.#make(parentOf(path), 'directory')
    this.#byPath.set(path, { type: 'link' })
  }

  #make(path: ByteString, type: 'implied' | 'directory'): void {
    for (let at = path; at !== '' && !this.#byPath.has(at); at = parentOf(at)) this.#byPath.set(at, { type })
  }

  /** A directory's real path: symbolic links are followed inside the root. */
  realDirectory(path: ByteString): ByteString {
    let done: ByteString = ''
    const waiting = path.split('/').reverse()
    for (let links = 0; waiting.length > 0; ) {
      const part = waiting.pop() ?? ''
      if (part === '..') done = parentOf(done)
      if (['', '.', '..'].includes(part)) continue
      const here = joinPath(done, part)
      const target = this.#byPath.get(here)?.target
      if (target === undefined || ++links > LINKS) {
        done = here
        continue
      }
      if (target.startsWith('/')) done = ''
      waiting.push(...target.split('/').reverse())
    }
    return done
  }

  /**
   * Whiteouts as they are decided while unpacking: one of a new directory makes it opaque, one of a new file is
   * nothing. `isLate` tells of names that links take at the end. Real paths, with the archive's names beside.
   */
  marks(
    given: { whiteouts: ReadonlySet<ByteString>; opaques: ReadonlySet<ByteString> },
    { place, isLate }: { place: (path: ByteString) => ByteString; isLate: (path: ByteString) => boolean },
  ): { whiteouts: Mark[]; opaques: Mark[] } {
    const opaques = [...given.opaques].map(name => ({ name, path: this.realDirectory(name) }))
    for (const { path } of opaques) this.imply(path)
    const whiteouts: Mark[] = []
    for (const name of [...given.whiteouts].sort(comparePaths).reverse()) {
      const path = place(name)
      if (isLate(path)) continue
      const wanted = this.#byPath.get(path)
      this.imply(parentOf(path))
      if (!wanted) whiteouts.push({ name, path })
      else if (holdsDirectory(wanted)) opaques.push({ name, path })
    }
    return { whiteouts, opaques }
  }
}

export interface Mark {
  name: ByteString
  path: ByteString
}
