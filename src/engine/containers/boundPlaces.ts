import { mkdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { hasCode } from '../../core/errors.ts'
import { namesIn, owned } from '../../linux/files.ts'
import { MNT_DETACH, MS_BIND, makePrivateMount, mount, unmount } from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import { openSubpath } from '../volumes/subpath.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/**
 * Mounts that are made for a container before the runtime binds them, below
 * exec-root in `subpaths/<container>/<number of the mount>`: a part of a volume
 * or an image is bound there by the very file that was found to be inside, so
 * that whoever writes to it cannot lead the runtime elsewhere; a bind whose
 * owners are mapped is cloned there with its maps.
 */

const folder = (engine: Engine): string => path.join(engine.settings.execRoot, 'subpaths')

const placesOf = (engine: Engine, id: string): string => path.join(folder(engine), id)

export const placeOf = (engine: Engine, id: string, index: number): string =>
  path.join(placesOf(engine, id), String(index))

/** Makes what something of the same kind can be mounted on. */
export const makePlace = (
  engine: Engine,
  id: string,
  at: { index: number; isDirectory: boolean },
): string => {
  mkdirSync(folder(engine), { recursive: true, mode: 0o700 })
  makePrivateMount(folder(engine))
  mkdirSync(placesOf(engine, id), { recursive: true, mode: 0o700 })
  const target = placeOf(engine, id, at.index)
  if (at.isDirectory) mkdirSync(target, { mode: 0o700 })
  else writeFileSync(target, '', { flag: 'wx' })
  return target
}

const bindSubpath = (
  engine: Engine,
  id: string,
  { source, subpath, index }: { source: string; subpath: string; index: number },
): void => {
  using found = owned(openSubpath(source, subpath))
  const link = `/proc/self/fd/${found.fd}`
  const target = makePlace(engine, id, { index, isDirectory: statSync(link).isDirectory() })
  mount({ source: link, target, flags: MS_BIND })
}

/** Errors in Docker's words: `not-found`, `bad-request` where one leads out. */
export const bindSubpaths = (
  engine: Engine,
  id: string,
  points: readonly Pick<MountPoint, 'source' | 'subpath'>[],
): void => {
  for (const [index, { source, subpath = '' }] of points.entries())
    if (subpath !== '') bindSubpath(engine, id, { source, subpath, index })
}

/** Never by a recursive removal: a place that is still mounted has the volume's own files in it. */
const dropPlace = (target: string): void => {
  try {
    unmount(target, MNT_DETACH)
  } catch (error) {
    if (!hasCode(error, 'EINVAL')) throw error
  }
  if (statSync(target).isDirectory()) rmdirSync(target)
  else unlinkSync(target)
}

/** Idempotent. */
export const dropPlaces = (engine: Engine, id: string): void => {
  for (const name of namesIn(placesOf(engine, id))) dropPlace(path.join(placesOf(engine, id), name))
  try {
    rmdirSync(placesOf(engine, id))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** Ids of the containers that have any. */
export const ownersOfPlaces = (engine: Engine): string[] => namesIn(folder(engine))

/** True where a mount is one that is made before the runtime binds it. */
export const needsPlace = ({ subpath, idMapping }: MountPoint): boolean =>
  subpath !== undefined || idMapping !== undefined

/** The record with its mounts as the runtime is to bind them. */
export const withPlaces = (engine: Engine, record: ContainerRecord): ContainerRecord => ({
  ...record,
  mounts: record.mounts.map((point, index) =>
    needsPlace(point) ? { ...point, source: placeOf(engine, record.id, index) } : point,
  ),
})
