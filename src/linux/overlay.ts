import { mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../core/errors.ts'
import { SystemError } from './ffi.ts'
import {
  AT_FDCWD,
  filesystemOf,
  filesystemTypes,
  makeNodeAt,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openAt,
  owned,
} from './files.ts'
import { MNT_DETACH, mount, mountFilesystem, unmount } from './mount.ts'
import { removeTree } from './removeTree.ts'
import { S_IFCHR } from './stat.ts'
import { setXattr } from './xattrs.ts'

export interface OverlayMount {
  /** Lower directories, the top one first. */
  lowers: readonly string[]
  upper: string
  work: string
  target: string
  /** Drops fsync of everything in the mount. */
  volatile?: boolean
  /** SELinux context of the whole mount. */
  label?: string
}

/** `api`: fsopen with `lowerdir+` (Linux 6.7); `classic`: mount(2), its options within one page. */
export type OverlayPath = 'api' | 'classic'

// Features that would make an upper directory unreadable to another stack of layers.
const fixed = [
  ['index', 'off'],
  ['metacopy', 'off'],
  ['redirect_dir', 'off'],
] as const

const mountByApi = (wanted: OverlayMount): void =>
  mountFilesystem({
    type: 'overlay',
    source: 'overlay',
    target: wanted.target,
    options: [
      ...wanted.lowers.map(lower => ['lowerdir+', lower] as const),
      ['upperdir', wanted.upper],
      ['workdir', wanted.work],
      ...fixed,
      ...(wanted.volatile ? [['volatile', true] as const] : []),
      ...(wanted.label ? [['context', wanted.label] as const] : []),
    ],
  })

const PAGE = 4095

/**
 * mount(2) takes one page of options and answers ENOENT where they are cut, so
 * the length is checked here. Directories are named through descriptors of
 * their parents, which keeps them short and free of `:` and `,`.
 */
const mountClassic = (wanted: OverlayMount): void => {
  const options = [
    `lowerdir=${wanted.lowers.map(escapeOption).join(':')}`,
    `upperdir=${escapeOption(wanted.upper)}`,
    `workdir=${escapeOption(wanted.work)}`,
    ...fixed.map(([key, value]) => `${key}=${value}`),
    ...(wanted.volatile ? ['volatile'] : []),
    ...(wanted.label ? [`context="${wanted.label}"`] : []),
  ].join(',')
  if (options.length > PAGE)
    throw new SystemError(
      'mount',
      7,
      `${wanted.target} (${wanted.lowers.length} layers do not fit into one page)`,
    )
  mount({ source: 'overlay', target: wanted.target, type: 'overlay', data: options })
}

const escapeOption = (path: string): string => path.replace(/[\\:,]/g, '\\$&')

export const mountOverlay = (wanted: OverlayMount, path: OverlayPath): void =>
  path === 'api' ? mountByApi(wanted) : mountClassic(wanted)

export interface OverlayProbe {
  /** Undefined where overlayfs cannot be used on this directory. */
  path: OverlayPath | undefined
  /** Why not, for the warning. */
  reason: string
}

/** Tries the three things that an overlay needs of the filesystem below: whiteout, opaque mark, mount. */
const attempt = (root: string, path: OverlayPath): void => {
  const base = mkdtempSync(join(root, '.probe-'))
  const part = (name: string): string => join(base, name)
  let mounted = false
  try {
    for (const name of ['lower', 'below', 'upper', 'work', 'merged']) mkdirSync(part(name))
    makeNodeAt({ dir: AT_FDCWD, name: part('upper/gone') }, S_IFCHR)
    mkdirSync(part('upper/opaque'))
    setXattr(part('upper/opaque'), 'trusted.overlay.opaque', Buffer.from('y'))
    mountOverlay(
      {
        lowers: [part('lower'), part('below')],
        upper: part('upper'),
        work: part('work'),
        target: part('merged'),
      },
      path,
    )
    mounted = true
  } finally {
    if (mounted) unmount(part('merged'), MNT_DETACH)
    removeTree(base)
  }
}

const attemptSomewhere = (root: string, spare: string, path: OverlayPath): void => {
  try {
    attempt(root, path)
  } catch (error) {
    if (!hasCode(error, 'ENOSPC') && !hasCode(error, 'EDQUOT')) throw error
    attempt(spare, path)
  }
}

/**
 * Which way overlayfs can be mounted over a data root, found by trying once. On
 * a full disk it is tried on `spare`, a folder on memory, which tells as much of the kernel.
 */
export const probeOverlay = (root: string, spare: string): OverlayProbe => {
  using directory = owned(openAt(AT_FDCWD, root, O_RDONLY | O_DIRECTORY | O_PATH))
  const { type } = filesystemOf(directory.fd)
  if (type === filesystemTypes.overlay) return { path: undefined, reason: 'the data root is on overlayfs' }
  if (type === filesystemTypes.nfs) return { path: undefined, reason: 'the data root is on NFS' }
  let reason = ''
  for (const path of ['api', 'classic'] as const)
    try {
      attemptSomewhere(root, spare, path)
      return { path, reason: '' }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
  return { path: undefined, reason }
}
