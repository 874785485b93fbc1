import { release } from 'node:os'
import { badRequest } from '../../core/errors.ts'
import { isVersionAtLeast } from '../../core/versions.ts'
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
  /** The host's message queues. */
  queues?: string
}

const readOnlyOption = (readWrite: boolean): string => (readWrite ? 'rw' : 'ro')

/** mount_setattr(2), by which mounts below become read-only as well, came with Linux 5.12. */
const kernelMakesAllReadOnly = (): boolean => isVersionAtLeast(release(), '5.12')

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

/** Flags that say the opposite of each other. */
const opposites = new Map(
  [
    ...[
      ['exec', 'noexec'],
      ['suid', 'nosuid'],
      ['dev', 'nodev'],
      ['rw', 'ro'],
      ['sync', 'async'],
    ],
    ...[
      ['atime', 'noatime'],
      ['diratime', 'nodiratime'],
      ['relatime', 'norelatime'],
    ],
  ].flatMap(([one = '', other = '']) => [[one, other] as const, [other, one] as const]),
)

/** Of what is said twice, or in two ways, the last counts; the defaults come first. */
const mergedOptions = (options: readonly string[]): string[] =>
  options.filter((option, index) => {
    const key = (text: string): string => text.split('=')[0] ?? text
    const later = options.slice(index + 1).map(key)
    return !later.includes(key(option)) && !later.includes(opposites.get(option) ?? '')
  })

const tmpfsMount = (mount: MountPoint): SpecMount => ({
  destination: mount.destination,
  type: 'tmpfs',
  source: 'tmpfs',
  options: mergedOptions(['noexec', 'nosuid', 'nodev', ...mount.options]),
})

const fileMount = (source: string, destination: string, readWrite = true): SpecMount => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', readOnlyOption(readWrite)],
})

/**
 * From a user namespace a bind cannot be made read-only by who leaves out what else the host's mount forbids: runc 1.1
 * does, where it is not said.
 */
const withAllForbidden = (mount: SpecMount, isProgram = false): SpecMount =>
  mount.options?.includes('ro')
    ? { ...mount, options: [...mount.options, 'nosuid', 'nodev', ...(isProgram ? [] : ['noexec'])] }
    : mount

const shmMount = (record: ContainerRecord, files: ContainerFiles): SpecMount[] => {
  const { IpcMode: mode = '', ShmSize: size } = record.hostConfig
  if (mode === 'none') return []
  if (files.shm) return [fileMount(files.shm, '/dev/shm')]
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${size || defaultShmSize}`]
  return [{ destination: '/dev/shm', type: 'tmpfs', source: 'shm', options }]
}

/** In a user namespace of its own nobody can mount those of the host's IPC namespace: where the host has them, they are bound. */
const isHostsQueues = ({ idMaps, hostConfig }: ContainerRecord, { type }: SpecMount): boolean =>
  type === 'mqueue' && idMaps !== undefined && hostConfig.IpcMode === 'host'

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
  const written = [
    ...(files.resolvConf ? [fileMount(files.resolvConf, '/etc/resolv.conf', readWrite)] : []),
    ...(files.hostname ? [fileMount(files.hostname, '/etc/hostname', readWrite)] : []),
    ...(files.hosts ? [fileMount(files.hosts, '/etc/hosts', readWrite)] : []),
  ]
  const init = files.init ? [fileMount(files.init, '/sbin/docker-init', false)] : []
  const own = [
    ...(record.idMaps ? written.map(mount => withAllForbidden(mount)) : written),
    ...(files.queues ? [fileMount(files.queues, '/dev/mqueue')] : []),
    ...(record.idMaps ? init.map(mount => withAllForbidden(mount, true)) : init),
  ]
  const kernel = [...kernelMounts({ privileged, cgroupWritable }), ...shmMount(record, files)].filter(
    mount => !isHostsQueues(record, mount),
  )
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
