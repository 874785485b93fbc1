import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { hasCode } from '../../src/core/errors.ts'
import { instanceOf } from '../../src/daemon/settings.ts'

const mountPoint = '/sys/fs/cgroup'

const list = (folder: string): string[] => {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap(entry =>
      entry.isDirectory() ? [entry.name] : [],
    )
  } catch (error) {
    // systemd takes a scope's away when it is empty.
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Directories of a daemon's control groups, in every hierarchy: one for all, or with systemd a scope for each. */
export const groupFolders = (execRoot: string): string[] => {
  const name = `berth-${instanceOf(execRoot)}`
  return ['', ...list(mountPoint)]
    .map(hierarchy => path.join(mountPoint, hierarchy))
    .flatMap(folder => [folder, path.join(folder, 'system.slice')])
    .flatMap(folder =>
      list(folder)
        .filter(entry => entry === name || (entry.startsWith(`${name}-`) && entry.endsWith('.scope')))
        .map(entry => path.join(folder, entry)),
    )
    .filter((folder, index, all) => all.indexOf(folder) === index)
}

/** A group and all below it, the deepest first. */
export const groupsBelow = (folder: string): string[] => [
  ...list(folder).flatMap(entry => groupsBelow(path.join(folder, entry))),
  folder,
]

/** Ids of the containers that have control groups; the monitors' own is none of them. */
export const groupOwners = (execRoot: string): string[] => {
  const owners = groupFolders(execRoot).flatMap(folder => {
    const [, owner] = /-([^-]+)\.scope$/.exec(folder) ?? []
    return owner === undefined ? list(folder) : [owner]
  })
  return [...new Set(owners)].filter(owner => owner !== 'monitors')
}

const processesOf = (group: string): number[] => {
  try {
    return readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENODEV')) return []
    throw error
  }
}

/** Every process in a daemon's control groups. */
export const groupProcesses = (execRoot: string): number[] => [
  ...new Set(groupFolders(execRoot).flatMap(groupsBelow).flatMap(processesOf)),
]
