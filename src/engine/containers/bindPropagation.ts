import { realpath, stat } from 'node:fs/promises'
import { badRequest } from '../../core/errors.ts'
import { mountThatCanHang } from '../../linux/hangingMounts.ts'
import { type MountInfo, readMounts } from '../../linux/mount.ts'
import type { MountPoint } from './types.ts'

/** What the host's mounts mean for what is bound from them: whether it can be shared (mount_namespaces(7)), and their flags. */

const below = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)

/** The mount that holds a path; of several at one place the last counts. */
const mountOf = (path: string, mounts: readonly MountInfo[]): MountInfo | undefined =>
  mounts.reduce<MountInfo | undefined>(
    (best, mount) =>
      below(path, mount.target) && mount.target.length >= (best?.target.length ?? 0) ? mount : best,
    undefined,
  )

/** Reads the table of mounts only, never the path itself. Errors: `bad-request` in Docker's words. */
export const checkPropagation = (wanted: readonly MountPoint[], read = readMounts): void => {
  const asking = wanted.filter(({ type, propagation }) => type === 'bind' && /shared|slave/.test(propagation))
  if (asking.length === 0) return
  const mounts = read()
  for (const { source, propagation } of asking) {
    const holder = mountOf(source, mounts)
    const shares = propagation.endsWith('shared')
    const fits = (tag: string): boolean => tag.startsWith('shared:') || (!shares && tag.startsWith('master:'))
    if (holder?.propagation.some(fits)) continue
    throw badRequest(
      `path ${source} is mounted on ${holder?.target ?? '/'} but it is not a shared${shares ? '' : ' or slave'} mount`,
    )
  }
}

/** A runtime that binds a mount again may clear those of its flags that it is not told (crun does). */
const flagsOfMounts = ['ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime']

/** Never asks a file system that can hang. */
const holderOf = async (source: string, table: readonly MountInfo[]): Promise<MountInfo | undefined> =>
  mountThatCanHang(source, table) ?? mountOf(await realpath(source).catch(() => source), table)

/** The binds with the flags of the host's mounts that they come from; each source is there, and was looked at before. */
export const withFlagsOfHost = async (
  mounts: readonly MountPoint[],
  read = readMounts,
): Promise<MountPoint[]> => {
  if (!mounts.some(({ type }) => type === 'bind')) return [...mounts]
  const table = read()
  return await Promise.all(
    mounts.map(async mount => {
      if (mount.type !== 'bind') return mount
      const found = (await holderOf(mount.source, table))?.options.split(',') ?? []
      return { ...mount, options: flagsOfMounts.filter(flag => found.includes(flag)) }
    }),
  )
}

/** The sources of read-only binds and parts of volumes that are no directories; each is there, and was looked at before. */
export const plainFiles = async (mounts: readonly MountPoint[]): Promise<Set<string>> => {
  const asking = mounts.filter(({ type, readWrite, subpath }) => !readWrite && (type === 'bind' || subpath))
  const kinds = await Promise.all(asking.map(async ({ source }) => (await stat(source)).isDirectory()))
  return new Set(asking.filter((_, index) => !kinds[index]).map(({ source }) => source))
}
