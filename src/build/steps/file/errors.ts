import { type ByteString, toBytes } from '../../../archive/paths.ts'
import { type BerthError, badRequest, notFound } from '../../../core/errors.ts'

/** What goes wrong with files of a build, in the words of BuildKit, whose users look for them. */

/** A path of a tree as users know it. */
export const shown = (path: ByteString): string => `/${toBytes(path).toString('utf8').replace(/^\//, '')}`

const words: Record<string, string> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EEXIST: 'file exists',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
}

/** `lstat /a/b: no such file or directory` */
export const pathError = (call: string, path: ByteString, code: string): BerthError => {
  const message = `${call} ${shown(path)}: ${words[code] ?? code}`
  return code === 'ENOENT' ? notFound(message) : badRequest(message)
}

/** What is said where nothing is at a path that a step takes. */
export const missingSource = (path: string, ref: string): BerthError =>
  notFound(`failed to calculate checksum of ref ${ref}: ${JSON.stringify(path)}: not found`)
