import { existsSync, readdirSync } from 'node:fs'
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
