import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { instanceOf } from '../../src/daemon/settings.ts'

const mountPoint = '/sys/fs/cgroup'

/** Directories of a daemon's control groups, in every hierarchy. */
export const groupFolders = (execRoot: string): string[] => {
  const parent = `berth-${instanceOf(execRoot)}`
  return ['', ...readdirSync(mountPoint)]
    .map(hierarchy => path.join(mountPoint, hierarchy, parent))
    .filter(existsSync)
}

/** A group and all below it, the deepest first. */
export const groupsBelow = (folder: string): string[] => [
  ...readdirSync(folder, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? groupsBelow(path.join(folder, entry.name)) : [],
  ),
  folder,
]

/** Every process in a daemon's control groups. */
export const groupProcesses = (execRoot: string): number[] => [
  ...new Set(
    groupFolders(execRoot)
      .flatMap(groupsBelow)
      .flatMap(group => readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n'))
      .filter(Boolean)
      .map(Number),
  ),
]
