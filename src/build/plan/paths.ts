import path from 'node:path'

/** Paths of images, which are Linux's. */

/** Without a slash at the end. */
export const cleaned = (text: string): string => {
  const normal = path.posix.normalize(text)
  return normal.length > 1 ? normal.replace(/\/$/, '') : normal
}

/** An absolute path; a slash at the end stays, and so does `/.`, which say that it is a folder. */
export const absolute = (folder: string, text: string): string => {
  const written = text === '' || text === '.' ? './' : text
  const joined = cleaned(written.startsWith('/') ? written : path.posix.join('/', folder, written))
  const slash = joined === '/' ? '' : '/'
  if (written.endsWith('/')) return joined + slash
  return written.endsWith('/.') ? `${joined}${slash}.` : joined
}

/** Below the root, as a source is named. */
export const fromRoot = (text: string): string => cleaned(path.posix.join('/', text))
