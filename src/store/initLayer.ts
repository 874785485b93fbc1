import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { mergedRoot, type StackLayer } from '../archive/merged.ts'
import { hasCode, internal } from '../core/errors.ts'
import { removeTree } from '../linux/removeTree.ts'
import { isDirectory } from '../linux/stat.ts'
import { UNFINISHED, unfinishedName } from './durable.ts'

/**
 * The layer between an image and what its container writes: places for the
 * kernel's mounts and for the files that are mounted into every container, so
 * that making them is no change of the container's. One for all images whose
 * folders have the same owners and modes, which its name tells:
 * `<root>/init/<mode.uid.gid of dev>_<of etc>_<of proc>_<of sys>`, behind
 * `step_` for steps of builds: those are told by no file that they are in a container, as with BuildKit.
 */

const folders = ['dev', 'etc', 'proc', 'sys']
/** Folders, files and links as Docker's init layer has them. */
const inside = { directories: ['dev/pts', 'dev/shm'], link: ['etc/mtab', '/proc/mounts'] } as const
const mark = '.dockerenv'
const files = [mark, 'dev/console', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf']
const missing = '755.0.0'
const forSteps = 'step_'
const nameForm = /^(?:step_)?(?:\d+\.\d+\.\d+_){3}\d+\.\d+\.\d+$/

const home = (root: string): string => join(root, 'init')

/** The name of the init layer that lets a stack's folders be as they are; bottom first. */
export const initLayerFor = (
  layers: readonly StackLayer[],
  { isStep = false }: { isStep?: boolean } = {},
): string => {
  using merged = mergedRoot(layers)
  const parts = folders
    .map(folder => {
      const stat = merged.lookUp(folder)?.stat
      // What is no folder cannot be mounted on: a folder takes its place.
      if (!stat || !isDirectory(stat)) return missing
      return `${(stat.mode & 0o7777).toString(8)}.${stat.uid}.${stat.gid}`
    })
    .join('_')
  return isStep ? forSteps + parts : parts
}

const fill = (directory: string, name: string): void => {
  for (const folder of folders) mkdirSync(join(directory, folder))
  for (const folder of inside.directories) mkdirSync(join(directory, folder), { mode: 0o755 })
  const isStep = name.startsWith(forSteps)
  for (const file of files) {
    if (isStep && file === mark) continue
    writeFileSync(join(directory, file), '')
    chmodSync(join(directory, file), 0o755)
  }
  symlinkSync(inside.link[1], join(directory, inside.link[0]))
  for (const [index, part] of name
    .slice(isStep ? forSteps.length : 0)
    .split('_')
    .entries()) {
    const [mode = '', uid = '', gid = ''] = part.split('.')
    const folder = join(directory, folders[index] ?? '')
    chownSync(folder, Number(uid), Number(gid))
    chmodSync(folder, Number.parseInt(mode, 8))
  }
}

/** The directory of an init layer, made where it is missing: its name tells all that is in it. */
export const ensureInitLayer = (root: string, name: string): string => {
  const directory = join(home(root), name)
  if (existsSync(directory)) return directory
  if (!nameForm.test(name)) throw internal(`invalid name of an init layer: ${JSON.stringify(name)}`)
  const unfinished = join(home(root), unfinishedName())
  mkdirSync(unfinished, { recursive: true, mode: 0o755 })
  try {
    fill(unfinished, name)
    renameSync(unfinished, directory)
  } catch (error) {
    removeTree(unfinished)
    throw error
  }
  return directory
}

/** Removes what a crash left half-made. */
export const recoverInitLayers = (root: string): void => {
  try {
    for (const entry of readdirSync(home(root)))
      if (entry.startsWith(UNFINISHED)) removeTree(join(home(root), entry))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
