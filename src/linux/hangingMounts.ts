import { readFileSync, readlinkSync } from 'node:fs'
import { hasCode } from '../core/errors.ts'
import { type MountInfo, parseMountInfo, readMounts } from './mount.ts'

/**
 * Mounts whose calls wait for another machine or another program, for ever if
 * it is gone. They are found without touching them: one `stat` on such a path
 * from this process would take a thread with it.
 */

const waiting = /^(fuse|nfs\d?|cifs|smb3|9p|virtiofs|ceph|afs|lustre|gfs2|ocfs2|coda|orangefs|autofs)(\.|$)/

/** Whether calls on a file system of this type (mountinfo's word) can wait for ever. */
export const canHang = (type: string): boolean => waiting.test(type)

/** Links that one path may have, as in the kernel. */
const maxLinks = 40

const linkTarget = (path: string): string | undefined => {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (['EINVAL', 'ENOENT', 'ENOTDIR', 'EACCES'].some(code => hasCode(error, code))) return undefined
    throw error
  }
}

/**
 * The mount on the way to an absolute path whose calls can hang; undefined
 * where there is none. `readLink` is asked about names on other mounts only.
 */
export const mountThatCanHang = (
  path: string,
  mounts: readonly MountInfo[],
  readLink: (path: string) => string | undefined = linkTarget,
): MountInfo | undefined => {
  const hanging = mounts.filter(mount => canHang(mount.type))
  if (hanging.length === 0) return undefined
  // The last mount at a place hides those before it.
  const at = new Map(mounts.map(mount => [mount.target, mount]))
  const left = path.split('/')
  let done: string[] = []
  let links = 0
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      done.pop()
      continue
    }
    const here = `/${[...done, part].join('/')}`
    const mount = at.get(here)
    if (mount && canHang(mount.type)) return mount
    const target = mount ? undefined : readLink(here)
    if (target === undefined || ++links > maxLinks) {
      done.push(part)
      continue
    }
    if (target.startsWith('/')) done = []
    left.unshift(...target.split('/'))
  }
  return undefined
}

/** `mountThatCanHang` as things stand in this process's mount namespace. */
export const hangingMountOf = (path: string): MountInfo | undefined => mountThatCanHang(path, readMounts())

/** The mounts that another process sees, by paths below its root; none where it has ended. */
export const hangingMountsOf = (pid: number): MountInfo[] => {
  try {
    return parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'latin1')).filter(({ type }) =>
      canHang(type),
    )
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH') || hasCode(error, 'EINVAL')) return []
    throw error
  }
}
