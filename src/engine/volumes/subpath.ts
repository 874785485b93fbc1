import { badRequest, hasCode, notFound } from '../../core/errors.ts'
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_PATH,
  openAt,
  openIn,
  owned,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
} from '../../linux/files.ts'

/** Where a part of a volume is: resolved by the kernel in one call, so that nobody who changes the tree meanwhile leads it out. */

const missing: Record<string, string> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many levels of symbolic links',
}

/** Opens a subpath by O_PATH; '' is the volume itself. The caller owns the descriptor. Errors in Docker's words: `not-found`, `bad-request` where it leads out. */
export const openSubpath = (data: string, subpath: string): number => {
  using root = owned(openAt(AT_FDCWD, data, O_PATH | O_DIRECTORY))
  try {
    return openIn(root.fd, subpath === '' ? '.' : subpath, {
      flags: O_PATH,
      resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    })
  } catch (error) {
    if (hasCode(error, 'EXDEV'))
      throw badRequest(
        `path concatenation escapes the base directory, base: ${data}, subpath: ${subpath}`,
        error,
      )
    for (const [code, words] of Object.entries(missing))
      if (hasCode(error, code))
        throw notFound(`cannot access path ${data}/${subpath}: lstat ${data}/${subpath}: ${words}`)
    throw error
  }
}
