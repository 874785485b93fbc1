import type { MergedTree } from '../../../archive/mergedTree.ts'
import { type ByteString, baseOf, clampPath, joinPath, parentOf } from '../../../archive/paths.ts'
import { type BerthError, notFound } from '../../../core/errors.ts'
import { type FileStat, isDirectory } from '../../../linux/stat.ts'
import type { FileAction } from '../../graph/types.ts'
import { Copier, type Copying } from './copier.ts'
import { missingSource, pathError, shown } from './errors.ts'
import { Filter } from './filter.ts'
import { findMatches, hasWildcards } from './glob.ts'
import { makeDirectories } from './makeDirectories.ts'
import { octalMode, parseMode } from './mode.ts'
import type { Ids } from './owner.ts'
import { resolvePath, toPath } from './resolve.ts'
import type { Target } from './target.ts'

export type CopyAction = Extract<FileAction, { kind: 'copy' }>

/** What a copy needs beside its words. */
export interface CopySetting extends Pick<Copying, 'target' | 'links' | 'ways'> {
  source: MergedTree
  owner: Ids | undefined
  /** What the source is called in messages. */
  ref: string
  /** Unpacks one file, where it is an archive; false where it is none. */
  unpack: (from: ByteString, to: ByteString) => Promise<boolean>
}

/** The name that something comes under in a directory; '' where it is the directory itself. */
const nameOf = (path: ByteString): ByteString => {
  const name = baseOf(path.replace(/\/+$/, ''))
  return name === '.' ? '' : name
}

/** Says that it is a directory: `a/`, `a/.` */
const isFolderName = (path: string): boolean => /(^|\/)\.?$/.test(path)

/** The first match of a directory's `createDestination`: the folder of the last name, or all of it. */
const makeDestination = (action: CopyAction, { target, owner }: CopySetting): void => {
  const path = toPath(action.destination)
  const folder = isFolderName(action.destination) ? path : parentOf(path)
  makeDirectories(target, resolvePath(target, folder), { mode: newMode(action), owner })
}

/** Of directories that are made on the way. */
const newMode = ({ mode }: CopyAction): number => octalMode(mode ?? '') ?? 0o755

const checkDestination = (action: CopyAction, target: Target): void => {
  const path = resolvePath(target, toPath(action.destination))
  if (path === '' || target.stat(parentOf(path))) return
  const { message } = pathError('lstat', parentOf(path), 'ENOENT')
  throw notFound(`failed to stat ${action.destination}: ${message}`)
}

/** Where a source comes to lie, whose folder is made. */
const placeOf = (
  action: CopyAction,
  setting: CopySetting,
  { name, stat, to }: { name: ByteString; stat: FileStat; to: ByteString },
): ByteString => {
  const { target, owner } = setting
  const there = target.stat(to)
  const isInside = isDirectory(stat)
    ? !action.contentsOnly && there !== undefined
    : there !== undefined && isDirectory(there)
  const place = isInside ? clampPath(joinPath(to, name)) : to
  const isContents = action.contentsOnly && isDirectory(stat) && !there
  makeDirectories(target, isContents ? place : parentOf(place), { mode: newMode(action), owner })
  return place
}

const missing = (action: CopyAction, path: ByteString, ref: string): BerthError =>
  missingSource(hasWildcards(action.source) ? shown(path) : action.source, ref)

/** COPY and ADD of one source, which may be a pattern. Yields between entries. */
export async function* copy(action: CopyAction, setting: CopySetting): AsyncGenerator<void> {
  const { source, target, ref } = setting
  if (!action.createDestination) checkDestination(action, target)
  const found = action.wildcards
    ? findMatches(source, action.source, { followLast: action.followLinks })
    : [toPath(action.source)]
  if (found.length === 0 && !action.allowEmpty) throw notFound(`${action.source} not found`)
  const copier = new Copier({
    ...setting,
    mode: action.mode === undefined ? undefined : parseMode(action.mode),
    filter: new Filter(action),
    replace: action.replace,
  })
  for (const path of found) {
    const from = resolvePath(source, path, { followLast: action.followLinks })
    if (action.unpack && (await unpack(action, setting, path))) continue
    const stat = source.stat(from)
    if (!stat && from !== '') throw missing(action, path, ref)
    makeDestination(action, setting)
    if (!stat) continue
    const to = resolvePath(target, toPath(action.destination))
    yield* copier.run(from, placeOf(action, setting, { name: nameOf(path), stat, to }))
  }
  const isRequired = action.keepParents && !action.allowEmpty && action.include.length > 0
  if (isRequired && copier.count <= found.length)
    throw missingSource(`${action.source.replace(/\/$/, '')}/${action.include[0]}`, ref)
}

/** True where it was an archive. */
const unpack = async (action: CopyAction, setting: CopySetting, path: ByteString): Promise<boolean> => {
  const from = resolvePath(setting.source, path)
  const to = resolvePath(setting.target, toPath(action.destination))
  return await setting.unpack(from, to)
}
