import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Group } from './types.ts'

/** CPU accounting by control groups: `cpuacct` of version 1, `cpu.stat` of version 2. */
const root = '/sys/fs/cgroup'
const unified = existsSync(path.join(root, 'cgroup.controllers'))
const hierarchy = unified ? root : path.join(root, 'cpuacct')

const usedMilliseconds = (directory: string): number => {
  if (!unified) return Number(readFileSync(path.join(directory, 'cpuacct.usage'), 'utf8')) / 1e6
  const stat = readFileSync(path.join(directory, 'cpu.stat'), 'utf8')
  return Number(/usage_usec (\d+)/.exec(stat)?.[1] ?? 0) / 1e3
}

export const makeGroup = (name: string): Group => {
  const directory = path.join(hierarchy, name)
  mkdirSync(directory, { recursive: true })
  return { path: name, used: () => usedMilliseconds(directory) }
}

const enter = (group: string): void =>
  writeFileSync(path.join(hierarchy, group, 'cgroup.procs'), String(process.pid))

const current = (): string => {
  const line = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find(text => (unified ? text.startsWith('0::') : /^\d+:([a-z_]+,)*cpuacct(,[a-z_]+)*:/.test(text)))
  return line?.split(':').slice(2).join(':') ?? '/'
}

/** Runs `spawns` so that every process it starts is born in the group's leaf `daemon`. */
export const bornIn = async <T>(group: Group, spawns: () => Promise<T>): Promise<T> => {
  const leaf = path.join(group.path, 'daemon')
  mkdirSync(path.join(hierarchy, leaf), { recursive: true })
  const before = current()
  enter(leaf)
  try {
    return await spawns()
  } finally {
    enter(before)
  }
}

/** Pids of a group and all below it. */
export const processesOf = (group: string): number[] => {
  const directory = path.join(hierarchy, group)
  if (!existsSync(directory)) return []
  const own = readFileSync(path.join(directory, 'cgroup.procs'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(Number)
  const below = readdirSync(directory, { withFileTypes: true }).filter(entry => entry.isDirectory())
  return [...own, ...below.flatMap(entry => processesOf(path.join(group, entry.name)))]
}

const removeTree = (directory: string): void => {
  if (!existsSync(directory)) return
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(path.join(directory, entry.name))
  rmdirSync(directory)
}

/** Takes the group away from every hierarchy; its processes must be gone. */
export const removeGroup = (name: string): void => {
  const places = unified ? [root] : readdirSync(root).map(entry => path.join(root, entry))
  for (const place of places) removeTree(path.join(place, name))
}
