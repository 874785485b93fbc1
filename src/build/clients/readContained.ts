import { fstatSync, readFileSync, readSync } from 'node:fs'
import { badRequest, hasCode } from '../../core/errors.ts'
import { O_NONBLOCK, O_RDONLY, openIn, owned } from '../../linux/files.ts'

/** Bytes of one file that is read whole. */
const mostText = 8 << 20

/**
 * A small file of an open folder, which no link leads out of; undefined where there is none. `beginning`: no more
 * than so many bytes of it, however long it is. Errors: `bad-request` for one that is too long.
 */
export const readContained = (
  root: number,
  name: string,
  { beginning }: { beginning?: number } = {},
): Buffer | undefined => {
  try {
    using file = owned(openIn(root, name, { flags: O_RDONLY | O_NONBLOCK }))
    const found = fstatSync(file.fd)
    if (!found.isFile()) return undefined
    if (beginning !== undefined) {
      const bytes = Buffer.alloc(Math.min(beginning, found.size))
      return bytes.subarray(0, readSync(file.fd, bytes, 0, bytes.length, 0))
    }
    if (found.size > mostText) throw badRequest(`${name} is larger than ${mostText} bytes`)
    return readFileSync(file.fd)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].some(code => hasCode(error, code))) return undefined
    throw error
  }
}
