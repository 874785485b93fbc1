import { realpath, stat } from 'node:fs/promises'
import { badRequest } from '../../core/errors.ts'
import { mountThatCanHang } from '../../linux/hangingMounts.ts'
import { type MountInfo, readMounts } from '../../linux/mount.ts'
import type { MountPoint } from './types.ts'

/** What the host's mounts mean for what is bound from them: whether it can be shared (mount_namespaces(7)), and their flags. */

export const below = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)

/** The mount that holds a path; of several at one place the last counts. */
export const mountOf = (path: string, mounts: readonly MountInfo[]): MountInfo | undefined =>
  mounts.reduce<MountInfo | undefined>(
    (best, mount) =>
      below(path, mount.target) && mount.target.length >= (best?.target.length ?? 0) ? mount : best,
    undefined,
  )

/** Never asks a file system that can hang. */
const holderOf = async (source: string, table: readonly MountInfo[]): Promise<MountInfo | undefined> =>
  mountThatCanHang(source, table) ?? mountOf(await realpath(source).catch(() => source), table)

/**
 * A bind of the data root, or of what it lies in, must not keep mounts in there
 * busy: what the host unmounts goes from the container, too. Errors:
 * `bad-request` in Docker's words where another propagation is asked for.
 */
export const withPropagation = (mount: MountPoint, dataRoot: string): MountPoint => {
  const { source, propagation } = mount
  if (!below(source, dataRoot) && !below(dataRoot, source))
    return propagation === '' ? { ...mount, propagation: 'rprivate' } : mount
  if (propagation === '') return { ...mount, propagation: 'rslave', propagationIsDefault: true }
  if (propagation === 'rslave' || propagation === 'rshared') return mount
  throw badRequest(
    `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: "${dataRoot}", bind mount source: "${source}", propagation: "${propagation}"`,
  )
}

/** Whether what the host has mounted at a source can be had with a propagation. */
const canHave = (holder: MountInfo | undefined, propagation: string): boolean => {
  const shares = propagation.endsWith('shared')
  const fits = (tag: string): boolean => tag.startsWith('shared:') || (!shares && tag.startsWith('master:'))
  return holder?.propagation.some(fits) ?? false
}

const asksTheHost = ({ type, propagation }: MountPoint): boolean =>
  type === 'bind' && /shared|slave/.test(propagation)

/** Each source is there, and was looked at before. Errors: `bad-request` in Docker's words. */
export const checkPropagation = async (wanted: readonly MountPoint[], read = readMounts): Promise<void> => {
  const asking = wanted.filter(mount => asksTheHost(mount) && !mount.propagationIsDefault)
  if (asking.length === 0) return
  const table = read()
  for (const { source, propagation } of asking) {
    const holder = await holderOf(source, table)
    if (canHave(holder, propagation)) continue
    const what = propagation.endsWith('shared') ? 'shared' : 'shared or slave'
    throw badRequest(`path ${source} is mounted on ${holder?.target ?? '/'} but it is not a ${what} mount`)
  }
}

/** A runtime that binds a mount again may clear those of its flags that it is not told (crun does). */
const flagsOfMounts = ['ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime']

/** The binds with the flags of the host's mounts that they come from, and a propagation that those can have; each source is there, and was looked at before. */
export const asTheHostHasThem = async (
  mounts: readonly MountPoint[],
  read = readMounts,
): Promise<MountPoint[]> => {
  if (!mounts.some(({ type }) => type === 'bind')) return [...mounts]
  const table = read()
  return await Promise.all(
    mounts.map(async mount => {
      if (mount.type !== 'bind') return mount
      const holder = await holderOf(mount.source, table)
      const found = holder?.options.split(',') ?? []
      const isPrivate = mount.propagationIsDefault && !canHave(holder, mount.propagation)
      return {
        ...mount,
        options: flagsOfMounts.filter(flag => found.includes(flag)),
        ...(isPrivate ? { propagation: 'rprivate' } : {}),
      }
    }),
  )
}

/** The sources of read-only binds and parts of volumes that are no directories; each is there, and was looked at before. */
export const plainFiles = async (mounts: readonly MountPoint[]): Promise<Set<string>> => {
  const asking = mounts.filter(({ type, readWrite, subpath }) => !readWrite && (type === 'bind' || subpath))
  const kinds = await Promise.all(asking.map(async ({ source }) => (await stat(source)).isDirectory()))
  return new Set(asking.filter((_, index) => !kinds[index]).map(({ source }) => source))
}
