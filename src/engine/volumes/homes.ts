import { chownSync, existsSync, mkdirSync, renameSync } from 'node:fs'
import path from 'node:path'
import { hasCode, internal } from '../../core/errors.ts'
import { nonce } from '../../core/ids.ts'
import { readMounts } from '../../linux/mount.ts'
import { limitDirectory } from '../../linux/projectQuota.ts'
import type { Volumes } from './volumes.ts'

/**
 * The folders of volumes. A home has its name only while its record is there,
 * so a name without a record is never the rest of a crash: it was put there by
 * hand, and is taken in.
 */

const newPrefix = '.new-'
const removedForm = /^\.removed-[0-9a-f]{8}-(.+)$/

/** Of a home that has not got its name yet. */
export const newHome = (volumes: Volumes, name: string): string => volumes.home(`${newPrefix}${name}`)

/** Whose volumes are: root's in the user namespaces that containers get. */
export type VolumeOwner = { uid: number; gid: number } | undefined

export const makeData = (home: string, owner: VolumeOwner): void => {
  const data = path.join(home, '_data')
  mkdirSync(home, { recursive: true, mode: 0o701 })
  mkdirSync(data, { recursive: true, mode: 0o755 })
  if (owner) chownSync(data, owner.uid, owner.gid)
}

/** Makes the home under its first name; what an earlier attempt left there goes. `limit`: most bytes; 0 for any. */
export const makeHome = (
  volumes: Volumes,
  name: string,
  { limit, owner }: { limit: number; owner: VolumeOwner },
): void => {
  const home = newHome(volumes, name)
  volumes.trash.take(home)
  mkdirSync(home, { mode: 0o701 })
  if (limit > 0) limitDirectory(home, limit)
  makeData(home, owner)
}

/** Gives a new home its name. */
export const placeHome = (volumes: Volumes, name: string): void => {
  try {
    renameSync(newHome(volumes, name), volumes.home(name))
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error
    throw internal(
      `cannot make the volume ${name}: the folder ${volumes.home(name)} is there, and belongs to no volume; restart the daemon, which takes it in as one, or move it away`,
      error,
    )
  }
}

/** Takes a home's name away; the result puts it back. */
export const setAside = (volumes: Volumes, name: string): { path: string; putBack: () => void } => {
  const aside = volumes.home(`.removed-${nonce()}-${name}`)
  const home = volumes.home(name)
  if (existsSync(home)) renameSync(home, aside)
  return {
    path: aside,
    putBack: () => {
      if (existsSync(aside)) renameSync(aside, home)
    },
  }
}

/** Errors: `internal` where something is mounted below a home, which a removal would take with it. */
export const refuseMountsBelow = (volumes: Volumes, name: string): void => {
  const below = readMounts().find(({ target }) => target.startsWith(`${volumes.home(name)}/`))
  if (below)
    throw internal(
      `remove ${name}: ${below.source} (${below.type}) is mounted at ${below.target}: unmount it, then remove the volume`,
    )
}

/** The volume whose home a crash left under one of its passing names; undefined where it is none. */
export const ownerOfPassing = (entry: string): string | undefined =>
  entry.startsWith(newPrefix) ? entry.slice(newPrefix.length) : removedForm.exec(entry)?.[1]
