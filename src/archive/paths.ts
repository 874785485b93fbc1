import { BerthError, badRequest } from '../core/errors.ts'

/**
 * Names inside archives. Within this folder a path is a *byte string*: one
 * UTF-16 unit a byte (latin1), relative to the root, cleaned, '' for the root.
 */
export type ByteString = string

/** Longest path that is unpacked. Past 4,096 bytes it is walked in steps. */
export const PATH_LIMIT = 16_384

export const toByteString = (name: Uint8Array): ByteString =>
  Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1')

export const toBytes = (path: ByteString): Buffer => Buffer.from(path, 'latin1')

/** For messages. */
export const show = (name: Uint8Array | ByteString): string =>
  JSON.stringify((typeof name === 'string' ? toBytes(name) : Buffer.from(name)).toString('utf8'))

const breakout = (name: ByteString): Error =>
  new BerthError(
    'archive-breakout',
    400,
    `the archive entry ${show(name)} leads out of the directory it is unpacked into`,
  )

// Most names need no cleaning; this tells them.
const unclean = /^[/.]|\/\/|\/\.|\/$/

/**
 * Lexically cleaned and relative: leading slashes go, `.` and `a/..` fold.
 * Errors: `archive-breakout` where `..` climbs over the root.
 */
export const cleanPath = (name: ByteString): ByteString => {
  if (name.length > PATH_LIMIT)
    throw badRequest(`the archive entry ${show(name.slice(0, 60))}… has a path of ${name.length} bytes`)
  if (!unclean.test(name)) return name
  const parts: string[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) throw breakout(name)
  }
  return parts.join('/')
}

/** As the kernel takes it below a root: `..` at the root stays there. */
export const clampPath = (name: ByteString): ByteString => {
  const parts: string[] = []
  for (const part of name.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return parts.join('/')
}

/** The directory part, '' at the top. */
export const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(path.lastIndexOf('/'), 0))

export const baseOf = (path: ByteString): ByteString => path.slice(path.lastIndexOf('/') + 1)

export const joinPath = (directory: ByteString, base: ByteString): ByteString =>
  directory === '' || directory === '/' ? directory + base : `${directory}/${base}`

/** Byte order, as Go and Docker sort paths. */
export const comparePaths = (a: ByteString, b: ByteString): number => (a < b ? -1 : a > b ? 1 : 0)

/** What a name says in a layer archive (OCI image specification, layer.md "Whiteouts"). */
export type WhiteoutKind = 'none' | 'whiteout' | 'opaque' | 'ignored'

export const whiteoutKind = (base: ByteString): WhiteoutKind => {
  if (!base.startsWith('.wh.')) return 'none'
  if (base === '.wh..wh..opq') return 'opaque'
  return base.startsWith('.wh..wh.') || base === '.wh.' ? 'ignored' : 'whiteout'
}
