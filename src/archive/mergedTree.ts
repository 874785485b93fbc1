import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, openAt, readLinkAt } from '../linux/files.ts'
import { type FileStat, isDirectory, statAt } from '../linux/stat.ts'
import { type MergedDirectory, type MergedEntry, mergedRoot, type StackLayer } from './merged.ts'
import { type ByteString, baseOf, comparePaths, parentOf, toBytes } from './paths.ts'

/** Descriptors that are kept open for directories that may be asked for again. */
const KEPT = 256

/**
 * A stack of layers by paths, without a mount: what overlayfs would show. Paths
 * are byte strings without links on their way; who follows links does it by
 * `stat` and `readLink`. Nothing outside of the layers is ever looked at.
 */
export class MergedTree implements Disposable {
  readonly #root: MergedDirectory
  readonly #open = new Map<ByteString, MergedDirectory>()
  #width = 0

  /** Bottom first. */
  constructor(layers: readonly StackLayer[]) {
    this.#root = mergedRoot(layers)
  }

  [Symbol.dispose](): void {
    for (const directory of this.#open.values()) directory[Symbol.dispose]()
    this.#open.clear()
    this.#root[Symbol.dispose]()
  }

  /** A name and the directory, in the layer that decides, that holds it, valid until the next call. Not for the root. */
  find(path: ByteString): MergedEntry | undefined {
    return this.#directory(parentOf(path))?.lookUp(baseOf(path))
  }

  /** Of an empty stack the root is not there either. */
  stat(path: ByteString): FileStat | undefined {
    if (path !== '') return this.find(path)?.stat
    const fd = this.#root.top
    return fd === undefined ? undefined : statAt(fd, '.')
  }

  readLink(path: ByteString): Buffer {
    const entry = this.find(path)
    return entry ? readLinkAt(entry.dir, toBytes(baseOf(path))) : Buffer.alloc(0)
  }

  /** Names in a directory, in byte order; none where there is no such directory. */
  names(path: ByteString): ByteString[] {
    return (this.#directory(path)?.names() ?? []).sort(comparePaths)
  }

  /** Opens what is there for reading; the caller owns the descriptor. A link is not followed. */
  open(path: ByteString, flags = 0): number | undefined {
    const all = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | flags
    if (path === '') return this.#root.top === undefined ? undefined : openAt(this.#root.top, '.', all)
    const entry = this.find(path)
    return entry && openAt(entry.dir, toBytes(baseOf(path)), all)
  }

  #directory(path: ByteString): MergedDirectory | undefined {
    if (path === '') return this.#root
    const known = this.#open.get(path)
    if (known) return known
    const parent = this.#directory(parentOf(path))
    const stat = parent?.lookUp(baseOf(path))?.stat
    const directory = stat && isDirectory(stat) ? parent?.enter(baseOf(path)) : undefined
    if (directory) this.#keep(path, directory)
    return directory
  }

  #keep(path: ByteString, directory: MergedDirectory): void {
    this.#open.set(path, directory)
    this.#width += directory.width
    for (const [oldest, other] of this.#open) {
      if (this.#width <= KEPT || other === directory) return
      this.#open.delete(oldest)
      this.#width -= other.width
      other[Symbol.dispose]()
    }
  }
}
