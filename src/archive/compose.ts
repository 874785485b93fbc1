import {
  AT_FDCWD,
  linkAt,
  makeDirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  owned,
} from '../linux/files.ts'
import { type FileStat, isDirectory } from '../linux/stat.ts'
import { copyEntry, copyMetadata } from './copy.ts'
import { type MergedDirectory, type MergedEntry, mergedRoot, type StackLayer } from './merged.ts'
import { type ByteString, joinPath, toBytes } from './paths.ts'

export interface ComposeTask {
  /** An empty directory. */
  directory: string
  /** Bottom first. */
  layers: StackLayer[]
}

/** One copy of a stack; hard links within a layer stay hard links. */
class Composition {
  readonly #root: number
  readonly #links = new Map<string, ByteString>()

  constructor(root: number) {
    this.#root = root
  }

  directory(from: MergedDirectory, to: number): void {
    for (const name of from.names()) {
      const found = from.lookUp(name)
      if (!found) continue
      if (isDirectory(found.stat)) this.#child(from, { name, found }, to)
      else this.#entry(joinPath(from.path, name), { name, found }, to)
    }
  }

  #entry(path: ByteString, { name, found }: Named, to: number): void {
    const key = `${found.stat.device}:${found.stat.inode}`
    const first = found.stat.links > 1 ? this.#links.get(key) : undefined
    if (first !== undefined)
      linkAt({ dir: this.#root, name: toBytes(first) }, { dir: to, name: toBytes(name) })
    else copyEntry({ dir: found.dir, name }, { dir: to, name }, found.stat)
    if (found.stat.links > 1 && first === undefined) this.#links.set(key, path)
  }

  #child(from: MergedDirectory, { name, found }: Named, to: number): void {
    makeDirAt(to, toBytes(name), 0o700)
    using child = from.enter(name)
    using target = owned(openAt(to, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
    using source = owned(openAt(found.dir, toBytes(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
    if (child) this.directory(child, target.fd)
    copyMetadata(source.fd, target.fd, found.stat)
  }
}

interface Named {
  name: ByteString
  found: MergedEntry & { stat: FileStat }
}

/** Copies a whole stack into one directory, for data roots that cannot hold overlays. */
export const composeStack = (task: ComposeTask): void => {
  using root = mergedRoot(task.layers)
  using target = owned(openAt(AT_FDCWD, task.directory, O_RDONLY | O_DIRECTORY))
  new Composition(target.fd).directory(root, target.fd)
}
