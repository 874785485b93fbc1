import { release } from 'node:os'
import { badRequest } from '../../core/errors.ts'
import type { SpecMount } from '../../oci/runtimeSpec.ts'
import { defaultShmSize, kernelMounts } from '../../runtime/spec/defaults.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** The mounts of a container in the order in which they must be made. */

/** Host paths of the files that Berth writes for a container; absent where it gets none. */
export interface ContainerFiles {
  hostname?: string
  hosts?: string
  resolvConf?: string
  /** docker-init's binary. */
  init?: string
  /** Directory of a shareable `/dev/shm`, or another container's. */
  shm?: string
}

const readOnlyOption = (readWrite: boolean): string => (readWrite ? 'rw' : 'ro')

/** mount_setattr(2), by which mounts below become read-only as well, came with Linux 5.12. */
const kernelMakesAllReadOnly = (): boolean => {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 5 || (major === 5 && minor >= 12)
}

/** Nothing is said of one that may be written to: `rw` would have the runtime clear the flags of what is bound. */
const bindAccess = (mount: MountPoint, plainFiles: ReadonlySet<string>): string[] => {
  const { readWrite, recursiveReadOnly, nonRecursive } = mount
  if (readWrite) return []
  // Below a file there is nothing, and crun 1.8 takes `rro` for directories only.
  if (recursiveReadOnly === 'never' || nonRecursive || plainFiles.has(mount.source)) return ['ro']
  if (kernelMakesAllReadOnly()) return ['rro']
  if (recursiveReadOnly === 'always')
    throw badRequest('mounts below a mount can be read-only from Linux 5.12 on: leave bind-recursive out')
  return ['ro']
}

const bindMount = (mount: MountPoint, plainFiles: ReadonlySet<string>): SpecMount => {
  const propagation = mount.propagation || 'rprivate'
  // What is mounted below one that the host has read-only stays as it is there.
  const flags = mount.options.filter(option => option !== 'ro' || mount.readWrite)
  return {
    destination: mount.destination,
    type: 'bind',
    source: mount.source,
    options: mount.nonRecursive
      ? // crun would take the `r` of the propagation for the mount's own.
        ['bind', ...bindAccess(mount, plainFiles), ...flags, propagation.replace(/^r/, '')]
      : ['rbind', ...bindAccess(mount, plainFiles), ...flags, propagation],
  }
}

/** The root's own propagation must let through what a mount in it wants to share. */
export const rootPropagation = (record: ContainerRecord): 'shared' | 'rslave' | undefined => {
  const wanted = record.mounts.map(mount => mount.propagation)
  if (wanted.some(word => word === 'shared' || word === 'rshared')) return 'shared'
  return wanted.some(word => word === 'slave' || word === 'rslave') ? 'rslave' : undefined
}

const tmpfsMount = (mount: MountPoint): SpecMount => ({
  destination: mount.destination,
  type: 'tmpfs',
  source: 'tmpfs',
  options: [
    ...['noexec', 'nosuid', 'nodev'].filter(option => !mount.options.includes(option.slice(2))),
    ...mount.options.filter(option => !['noexec', 'nosuid', 'nodev'].includes(option)),
  ],
})

const fileMount = (source: string, destination: string, readWrite = true): SpecMount => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', readOnlyOption(readWrite)],
})

const shmMount = (record: ContainerRecord, files: ContainerFiles): SpecMount[] => {
  const { IpcMode: mode = '', ShmSize: size } = record.hostConfig
  if (mode === 'none') return []
  if (files.shm) return [fileMount(files.shm, '/dev/shm')]
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${size || defaultShmSize}`]
  return [{ destination: '/dev/shm', type: 'tmpfs', source: 'shm', options }]
}

const depth = (mount: SpecMount): number => mount.destination.split('/').filter(Boolean).length

/**
 * Kernel mounts first, then everything else, a parent before what lies below
 * it. A mount of the user's at the place of one of ours replaces it.
 */
export const specMounts = (
  record: ContainerRecord,
  options: {
    files: ContainerFiles
    cgroupWritable: boolean
    /** Sources of binds that are no directories. */
    plainFiles: ReadonlySet<string>
  },
): SpecMount[] => {
  const { files, cgroupWritable } = options
  const privileged = record.hostConfig.Privileged ?? false
  const user = record.mounts.map(mount =>
    mount.type === 'tmpfs' ? tmpfsMount(mount) : bindMount(mount, options.plainFiles),
  )
  const taken = new Set(user.map(mount => mount.destination))
  const readWrite = !(record.hostConfig.ReadonlyRootfs ?? false)
  const own = [
    ...(files.resolvConf ? [fileMount(files.resolvConf, '/etc/resolv.conf', readWrite)] : []),
    ...(files.hostname ? [fileMount(files.hostname, '/etc/hostname', readWrite)] : []),
    ...(files.hosts ? [fileMount(files.hosts, '/etc/hosts', readWrite)] : []),
    ...(files.init ? [fileMount(files.init, '/sbin/docker-init', false)] : []),
  ]
  const kernel = [...kernelMounts({ privileged, cgroupWritable }), ...shmMount(record, files)]
  const rest = [...own.filter(mount => !taken.has(mount.destination)), ...user]
  rest.sort((a, b) => depth(a) - depth(b))
  const overDev = taken.has('/dev')
  return [
    ...kernel.filter(
      ({ destination }) => !taken.has(destination) && !(overDev && destination.startsWith('/dev/')),
    ),
    ...rest,
  ]
}
