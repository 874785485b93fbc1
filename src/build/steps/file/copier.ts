import { type CopyWays, copyContent } from '../../../archive/copy.ts'
import type { MergedTree } from '../../../archive/mergedTree.ts'
import { mayRestore } from '../../../archive/metadata.ts'
import { type ByteString, baseOf, joinPath, parentOf, toBytes } from '../../../archive/paths.ts'
import { badRequest } from '../../../core/errors.ts'
import { SystemError } from '../../../linux/ffi.ts'
import {
  chmodFd,
  chownAt,
  chownFd,
  deviceNumber,
  linkAt,
  makeNodeAt,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  openAt,
  owned,
  setTimesAt,
  setTimesFd,
  symlinkAt,
} from '../../../linux/files.ts'
import {
  type FileStat,
  isDirectory,
  isWhiteout,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../../linux/stat.ts'
import {
  getXattr,
  getXattrFd,
  pathAt,
  setXattr,
  setXattrFd,
  xattrNames,
  xattrNamesOfFd,
} from '../../../linux/xattrs.ts'
import { pathError, shown } from './errors.ts'
import type { Filter, Within } from './filter.ts'
import type { Links } from './links.ts'
import type { ModeChange } from './mode.ts'
import type { Ids } from './owner.ts'
import type { Target } from './target.ts'

/** What is the same for all that one action copies. */
export interface Copying {
  source: MergedTree
  target: Target
  links: Links
  ways: CopyWays
  owner?: Ids | undefined
  mode?: ModeChange | undefined
  filter: Filter
  /** What is in the way gives way, but for a directory where one comes. */
  replace: boolean
}

/** Something on its way. */
interface Item {
  /** In the source. */
  from: ByteString
  /** Below what is copied; '' for that itself. */
  relative: ByteString
  to: ByteString
}

/** A directory that comes as soon as something that is in it does. */
interface Waiting {
  item: Item
  stat: FileStat
  isMade: boolean
  /** It was not there before. */
  isNew: boolean
}

/**
 * Copies as BuildKit does: directories that are there are merged into, and
 * those below the top one take over what the source's are; what is hard-linked
 * within stays so; times are the source's. Sockets become empty files.
 */
export class Copier {
  readonly #copying: Copying
  readonly #parents: Waiting[] = []
  /** Entries that the patterns let through. */
  count = 0

  constructor(copying: Copying) {
    this.#copying = copying
  }

  /** Yields between entries, so that others have their turn. `to` has no links on its way. */
  *run(from: ByteString, to: ByteString): Generator<void> {
    this.#copying.links.newTree()
    yield* this.#copy({ from, relative: '', to }, {})
  }

  *#copy(item: Item, within: Within): Generator<void> {
    yield
    const { isIncluded, isPruned, matched } = this.#copying.filter.match(item.relative, within)
    if (isPruned) return
    const stat = this.#copying.source.stat(item.from)
    if (!stat) throw pathError('lstat', item.from, 'ENOENT')
    if (isDirectory(stat)) yield* this.#directory(item, stat, { isIncluded, matched })
    else if (isIncluded) yield* this.#file(item, stat)
  }

  *#directory(
    item: Item,
    stat: FileStat,
    { isIncluded, matched }: { isIncluded: boolean; matched: Within },
  ): Generator<void> {
    const { source, target } = this.#copying
    const here: Waiting = { item, stat, isMade: false, isNew: false }
    if (isIncluded) {
      this.#comes(item, stat)
      this.#make(here)
    }
    this.#parents.push(here)
    try {
      for (const name of source.names(item.from)) {
        const relative = joinPath(item.relative, name)
        yield* this.#copy({ from: joinPath(item.from, name), relative, to: joinPath(item.to, name) }, matched)
      }
    } finally {
      this.#parents.pop()
    }
    if (!here.isMade) return
    // Last, as a directory's default ACL would be that of what is made in it. The top one stays as it was.
    if (isIncluded && (here.isNew || item.relative !== '')) this.#finishDirectory(item, stat)
    if (isIncluded || here.isNew) setTimesFd(target.directory(item.to), stat.mtime, stat.mtime)
  }

  /** Before something is made: what is in its way, and the directories that it is in. */
  #comes(item: Item, stat: FileStat): void {
    const { target, replace } = this.#copying
    this.count++
    if (replace && !this.#parents.at(-1)?.isNew) {
      const there = target.stat(item.to)
      if (there && !(isDirectory(stat) && isDirectory(there))) target.remove(item.to)
    }
    for (const parent of this.#parents) {
      if (parent.isMade) continue
      this.#make(parent)
      if (parent.isNew) this.#finishDirectory(parent.item, parent.stat)
      else chmodFd(target.directory(parent.item.to), parent.stat.mode & 0o7777)
    }
  }

  #make(waiting: Waiting): void {
    const { target } = this.#copying
    const { item } = waiting
    const there = target.stat(item.to)
    if (there && !isDirectory(there)) throw badRequest(`cannot copy to non-directory: ${shown(item.to)}`)
    waiting.isMade = true
    if (there) return
    waiting.isNew = true
    target.makeDirectory(item.to, 0o700)
  }

  #finishDirectory(item: Item, stat: FileStat): void {
    const { source, target } = this.#copying
    const fd = target.directory(item.to)
    this.#own(fd, stat)
    const from = source.open(item.from)
    if (from === undefined) return
    using opened = owned(from)
    copyAttributes(opened.fd, fd)
  }

  *#file(item: Item, stat: FileStat): Generator<void> {
    const { target } = this.#copying
    this.#comes(item, stat)
    // In a directory that is new nothing is in the way.
    const there = this.#parents.at(-1)?.isNew ? undefined : target.stat(item.to)
    if (there && isDirectory(there))
      throw badRequest(`cannot replace to directory ${shown(item.to)} with file`)
    if (there) target.giveWay(item.to)
    const type = stat.mode & S_IFMT
    if (type === S_IFREG) yield* this.#regular(item, stat)
    else if (type === S_IFLNK) this.#symlink(item, stat)
    else this.#node(item, stat)
  }

  *#regular(item: Item, stat: FileStat): Generator<void> {
    const { target, links, mode } = this.#copying
    const first = links.firstOf(stat)
    if (first !== undefined) {
      const from = { dir: target.directory(parentOf(first)), name: toBytes(baseOf(first)) }
      target.place(item.to, (dir, name) => linkAt(from, { dir, name }))
      return
    }
    const isSame =
      this.#keepsOwner(stat) && (!mode || mode(stat.mode & 0o7777, false) === (stat.mode & 0o7777))
    if (!isSame || !this.#share(item, stat)) yield* this.#copyFile(item, stat)
    links.note(stat, item.to)
  }

  #keepsOwner(stat: FileStat): boolean {
    const { owner } = this.#copying
    return !owner || (owner.uid === stat.uid && owner.gid === stat.gid)
  }

  /** The same inode, where it may be; false where it is to be copied. */
  #share(item: Item, stat: FileStat): boolean {
    const { source, target, links } = this.#copying
    if (!links.mayShare(stat) || this.#hasReserved(item)) return false
    try {
      target.place(item.to, (dir, name) => {
        const from = source.find(item.from) ?? gone(item.from)
        linkAt({ dir: from.dir, name: toBytes(baseOf(item.from)) }, { dir, name })
      })
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      if (!['EXDEV', 'EPERM', 'EMLINK'].includes(error.code)) throw error
      if (error.code !== 'EMLINK') links.stopSharing()
      return false
    }
    links.shared(stat)
    return true
  }

  /** Attributes that would mean something to overlayfs come with an inode. */
  #hasReserved(item: Item): boolean {
    const from = this.#copying.source.find(item.from)
    return from !== undefined && !xattrNames(pathAt(from.dir, toBytes(baseOf(item.from)))).every(mayRestore)
  }

  *#copyFile(item: Item, stat: FileStat): Generator<void> {
    const { source, ways } = this.#copying
    using from = owned(source.open(item.from) ?? gone(item.from))
    using to = owned(this.#create(item.to))
    if (stat.size > 0) yield* copyContent(from.fd, to.fd, { ways, size: stat.size })
    this.#own(to.fd, stat)
    copyAttributes(from.fd, to.fd)
    setTimesFd(to.fd, stat.mtime, stat.mtime)
  }

  #create(path: ByteString): number {
    let fd = -1
    this.#copying.target.place(path, (dir, name) => {
      fd = openAt(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
    })
    return fd
  }

  #symlink(item: Item, stat: FileStat): void {
    const { source, target } = this.#copying
    const link = source.readLink(item.from)
    target.place(item.to, (dir, name) => {
      symlinkAt(link, dir, name)
      this.#finishAt(item, stat, { dir, name })
    })
  }

  #node(item: Item, stat: FileStat): void {
    const { target, mode } = this.#copying
    if (isWhiteout(stat))
      throw badRequest(`cannot copy ${shown(item.from)}: it is a device 0:0, which layers reserve`)
    const kind = (stat.mode & S_IFMT) === S_IFSOCK ? S_IFREG : stat.mode & S_IFMT
    const bits = mode ? mode(stat.mode & 0o7777, false) : stat.mode & 0o7777
    target.place(item.to, (dir, name) => {
      makeNodeAt({ dir, name }, kind | bits, deviceNumber(stat.rdevMajor, stat.rdevMinor))
      this.#finishAt(item, stat, { dir, name })
    })
  }

  /** Of what is not opened. */
  #finishAt(item: Item, stat: FileStat, to: { dir: number; name: Buffer }): void {
    const { source, owner } = this.#copying
    const { uid, gid } = owner ?? stat
    chownAt(to, uid, gid)
    const from = source.find(item.from)
    if (from) copyAttributesAt(pathAt(from.dir, toBytes(baseOf(item.from))), pathAt(to.dir, to.name))
    setTimesAt(to, stat.mtime, stat.mtime)
  }

  /** Owner, then mode: a new owner takes bits away. */
  #own(fd: number, stat: FileStat): void {
    const { owner, mode } = this.#copying
    const { uid, gid } = owner ?? stat
    chownFd(fd, uid, gid)
    const old = stat.mode & 0o7777
    chmodFd(fd, mode ? mode(old, isDirectory(stat)) : old)
  }
}

const gone = (path: ByteString): never => {
  throw pathError('open', path, 'ENOENT')
}

const refused = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL', 'ERANGE'])

/** One that the file system does not take is left out. */
const attempt = (set: () => void): void => {
  try {
    set()
  } catch (error) {
    if (!(error instanceof SystemError && refused.has(error.code))) throw error
  }
}

const copyAttributes = (from: number, to: number): void => {
  for (const name of xattrNamesOfFd(from)) {
    const value = mayRestore(name) ? getXattrFd(from, name) : undefined
    if (value) attempt(() => setXattrFd(to, name, value))
  }
}

const copyAttributesAt = (from: Buffer, to: Buffer): void => {
  for (const name of xattrNames(from)) {
    const value = mayRestore(name) ? getXattr(from, name) : undefined
    if (value) attempt(() => setXattr(to, name, value))
  }
}
