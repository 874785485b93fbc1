import { readdir, readlink } from 'node:fs/promises'
import { hasCode } from '../../../core/errors.ts'

const linkOf = async (path: string): Promise<string> => {
  try {
    return await readlink(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ''
    throw error
  }
}

/**
 * The oldest rotated file that a monitor reads for an attached client that is slower than the
 * container; Infinity where there is none. It goes on with the files that follow, and can read no
 * compressed ones.
 */
export const oldestRead = async (pid: number, log: string): Promise<number> => {
  const folder = `/proc/${pid}/fd`
  let descriptors: string[]
  try {
    descriptors = await readdir(folder)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return Number.POSITIVE_INFINITY
    throw error
  }
  const links = await Promise.all(descriptors.map(each => linkOf(`${folder}/${each}`)))
  const numbers = links
    .filter(link => link.startsWith(`${log}.`))
    .map(link => /^\d+(?= \(deleted\)$|$)/.exec(link.slice(log.length + 1))?.[0])
  return Math.min(...numbers.filter(each => each !== undefined).map(Number))
}
