import {
  existsSync,
  mkdirSync,
  opendirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { copyMetadata } from '../../archive/copy.ts'
import { hasCode } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_RDONLY,
  openAt,
  openIn,
  owned,
  RENAME_NOREPLACE,
  renameAt,
} from '../../linux/files.ts'
import { statFd } from '../../linux/stat.ts'
import { openSubpath } from './subpath.ts'

/**
 * Filling a volume that has its name already, whole or not at all: into a stage
 * on the same file system, which is then marked as ready, and moved in. Before
 * the mark a crash leaves a stage that goes; after it, one that is moved in by
 * the next who looks: a start of the daemon, or whoever fills the volume.
 */
export interface FillPlace {
  /** The folder of the stage; absent while nothing is under way. */
  stage: string
  /** The volume's `_data`. */
  data: string
  /** Takes a folder away. */
  discard: (path: string) => void | Promise<void>
}

interface Mark {
  subpath: string
  /** Of the directory itself, nanoseconds since the epoch: moving changes the stage's. */
  mtime: string
}

const openDirectory = (name: string): { fd: number } & Disposable =>
  owned(openAt(AT_FDCWD, name, O_RDONLY | O_DIRECTORY))

/** Reads no further than the first name that counts: there may be millions. */
const holdsNothing = (fd: number, isOurs: (name: string) => boolean): boolean => {
  const listing = opendirSync(`/proc/self/fd/${fd}`)
  try {
    for (let entry = listing.readSync(); entry; entry = listing.readSync())
      if (!isOurs(entry.name)) return false
    return true
  } finally {
    listing.closeSync()
  }
}

/** A subpath of the volume that is a directory with nothing in it; undefined where it is none. */
export const openEmpty = (
  { data, stage }: FillPlace,
  subpath: string,
): ({ fd: number } & Disposable) | undefined => {
  try {
    using found = owned(openSubpath(data, subpath))
    const directory = owned(openIn(found.fd, '.', { flags: O_RDONLY | O_DIRECTORY }))
    if (holdsNothing(directory.fd, name => path.join(data, name) === stage)) return directory
    directory[Symbol.dispose]()
    return undefined
  } catch (error) {
    if (['not-found', 'ENOENT', 'ENOTDIR'].some(code => hasCode(error, code))) return undefined
    throw error
  }
}

const treeOf = (stage: string): string => path.join(stage, 'tree')

const readMark = (stage: string): Mark | undefined => {
  try {
    return JSON.parse(readFileSync(path.join(stage, 'ready'), 'utf8')) as Mark
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const mark = (stage: string, subpath: string): void => {
  using tree = openDirectory(treeOf(stage))
  const content: Mark = { subpath, mtime: String(statFd(tree.fd).mtime) }
  writeFileSync(path.join(stage, 'marking'), JSON.stringify(content))
  renameSync(path.join(stage, 'marking'), path.join(stage, 'ready'))
}

/** What a container put there meanwhile stays. Not every file system of another machine knows the flag. */
const moveOne = (from: number, to: number, name: Buffer): void => {
  try {
    renameAt({ dir: from, name }, { dir: to, name }, RENAME_NOREPLACE)
  } catch (error) {
    if (hasCode(error, 'EINVAL')) renameAt({ dir: from, name }, { dir: to, name })
    else if (!hasCode(error, 'EEXIST')) throw error
  }
}

const moveIn = (place: FillPlace, { subpath, mtime }: Mark): void => {
  using tree = openDirectory(treeOf(place.stage))
  using found = owned(openSubpath(place.data, subpath))
  using target = owned(openIn(found.fd, '.', { flags: O_RDONLY | O_DIRECTORY }))
  for (const name of readdirSync(`/proc/self/fd/${tree.fd}`, { encoding: 'buffer' })) {
    moveOne(tree.fd, target.fd, name)
    failpoint('volume.fill.moving')
  }
  copyMetadata(tree.fd, target.fd, { ...statFd(tree.fd), mtime: BigInt(mtime) })
}

/** Somebody fills it now, or could not end it. */
export const isUnderWay = ({ stage }: FillPlace): boolean => existsSync(stage)

/** Carries on or gives up what a crash cut off. Idempotent. */
export const finishFill = async (place: FillPlace): Promise<void> => {
  if (!isUnderWay(place)) return
  const ready = readMark(place.stage)
  if (ready) moveIn(place, ready)
  failpoint('volume.fill.moved')
  await place.discard(place.stage)
}

/** Fills a directory of the volume, which is empty, by what `copy` puts into the folder that it is given. The caller holds the volume's name. */
export const fillInto = async (
  place: FillPlace,
  subpath: string,
  copy: (to: string) => Promise<void>,
): Promise<void> => {
  mkdirSync(treeOf(place.stage), { recursive: true, mode: 0o700 })
  try {
    await copy(treeOf(place.stage))
    failpoint('volume.fill.copied')
    mark(place.stage, subpath)
  } catch (error) {
    await place.discard(place.stage)
    throw error
  }
  failpoint('volume.fill.ready')
  await finishFill(place)
}
