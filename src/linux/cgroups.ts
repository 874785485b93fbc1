import { readdirSync, readFileSync, rmdirSync, statfsSync } from 'node:fs'
import path from 'node:path'
import { hasCode } from '../core/errors.ts'

/**
 * Control groups of both versions. A *group* is a path below the hierarchies'
 * root, such as `/berth/<id>`; with version 1 it has a directory in each
 * controller's hierarchy, with version 2 one directory.
 */
const mountPoint = '/sys/fs/cgroup'
const cgroup1Magic = 0x27e0eb
const cgroup2Magic = 0x63677270

export const cgroupVersion: 1 | 2 = (() => {
  try {
    return statfsSync(mountPoint).type === cgroup2Magic ? 2 : 1
  } catch {
    return 1
  }
})()

/** Controllers that are mounted (version 1, each with its directory name) or enabled (version 2). */
export const controllers: readonly string[] = (() => {
  try {
    if (cgroupVersion === 2) return readFileSync(`${mountPoint}/cgroup.controllers`, 'utf8').trim().split(' ')
    // A kernel without version 1 of a controller leaves systemd's folder for it empty.
    return readdirSync(mountPoint).filter(
      name => statfsSync(path.join(mountPoint, name)).type === cgroup1Magic,
    )
  } catch {
    return []
  }
})()

/** True on a host with version 1 controllers beside a version 2 tree, which some runtimes refuse. */
export const isHybrid: boolean = cgroupVersion === 1 && readdirSync(mountPoint).includes('unified')

/** The directory of a group for a controller. */
export const groupDirectory = (group: string, controller: string): string =>
  cgroupVersion === 2 ? path.join(mountPoint, group) : path.join(mountPoint, controller, group)

/** The directories of a group in all hierarchies. */
export const groupDirectories = (group: string): string[] =>
  cgroupVersion === 2
    ? [path.join(mountPoint, group)]
    : [...controllers, ...(isHybrid ? ['unified'] : [])].map(name => path.join(mountPoint, name, group))

const linesOf = (file: string): string[] => {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENODEV')) return []
    throw error
  }
}

/** A file of a group, or undefined where it is not there. */
export const readGroupFile = (group: string, controller: string, file: string): string | undefined => {
  const lines = linesOf(path.join(groupDirectory(group, controller), file))
  return lines.length === 0 ? undefined : lines.join('\n')
}

const descend = (directory: string, visit: (directory: string) => void): void => {
  let names: string[] = []
  try {
    names = readdirSync(directory, { withFileTypes: true }).flatMap(entry =>
      entry.isDirectory() ? [entry.name] : [],
    )
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  for (const name of names) descend(path.join(directory, name), visit)
  visit(directory)
}

/** Names of the groups right below one, in any hierarchy. */
export const groupsBelow = (group: string): string[] => {
  const names = groupDirectories(group).flatMap(directory => {
    try {
      return readdirSync(directory, { withFileTypes: true })
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  })
  return [...new Set(names.flatMap(entry => (entry.isDirectory() ? [entry.name] : [])))]
}

/** Processes of a group and of the groups below it. */
export const groupProcesses = (group: string): number[] => {
  const pids = new Set<number>()
  const controller = controllers.includes('pids') ? 'pids' : (controllers[0] ?? '')
  descend(groupDirectory(group, controller), directory => {
    for (const line of linesOf(path.join(directory, 'cgroup.procs'))) pids.add(Number(line))
  })
  return [...pids]
}

/** Removes a group where it is empty; false while processes or kernel references hold it. */
export const removeGroup = (group: string): boolean => {
  let gone = true
  for (const top of groupDirectories(group))
    descend(top, directory => {
      try {
        rmdirSync(directory)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) gone = false
      }
    })
  return gone
}

/** Kills every process of a group; new ones forked meanwhile too. */
export const killGroup = (group: string): void => {
  for (let round = 0; round < 20; round++) {
    const pids = groupProcesses(group)
    if (pids.length === 0) return
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch (error) {
        if (!hasCode(error, 'ESRCH')) throw error
      }
    }
  }
}
