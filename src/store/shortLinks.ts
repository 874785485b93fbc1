import { mkdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import { hasCode, internal } from '../core/errors.ts'
import { AT_FDCWD, closeFd, O_DIRECTORY, O_PATH, O_RDONLY, openAt } from '../linux/files.ts'
import { digestHex } from '../oci/digest.ts'
import type { Layer } from './types.ts'

/**
 * Short names of layers for mount(2), whose options must fit into one page:
 * `<root>/l/<8 hex>` links to a layer's directory, and the folder `l` is named
 * through a descriptor, so that 128 layers fit whatever the data root is called.
 */

const LENGTH = 8

const readTarget = (path: string): string | undefined => {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The link's name; another cut of the digest where the first belongs to another layer. */
const linkName = (folder: string, { key, path }: Layer): string => {
  const hex = digestHex(key)
  const wanted = relative(folder, path)
  for (let at = 0; at + LENGTH <= hex.length; at++) {
    const name = hex.slice(at, at + LENGTH)
    const target = readTarget(join(folder, name))
    if (target === wanted) return name
    if (target !== undefined) continue
    symlinkSync(wanted, join(folder, name))
    return name
  }
  throw internal(`no short name is left for layer ${key} in ${folder}`)
}

export interface ShortPaths extends Disposable {
  /** In the order of the layers given. */
  lowers: string[]
}

/** Short paths of layers, valid until disposed. */
export const shortPaths = (root: string, layers: readonly Layer[]): ShortPaths => {
  const folder = join(root, 'l')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const fd = openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_PATH)
  try {
    return {
      lowers: layers.map(layer => `/proc/self/fd/${fd}/${linkName(folder, layer)}`),
      [Symbol.dispose]: () => closeFd(fd),
    }
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** The short name of a layer that is gone. */
export const dropShortLink = (root: string, layer: Layer): void => {
  const folder = join(root, 'l')
  const hex = digestHex(layer.key)
  const wanted = relative(folder, layer.path)
  for (let at = 0; at + LENGTH <= hex.length; at++) {
    const name = join(folder, hex.slice(at, at + LENGTH))
    const target = readTarget(name)
    if (target === undefined) return
    if (target === wanted) unlinkSync(name)
  }
}
