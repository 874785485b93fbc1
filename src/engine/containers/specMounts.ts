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

const bindMount = (mount: MountPoint): SpecMount => ({
  destination: mount.destination,
  type: 'bind',
  source: mount.source,
  options: [
    mount.nonRecursive ? 'bind' : 'rbind',
    readOnlyOption(mount.readWrite),
    mount.propagation || 'rprivate',
  ],
})

const tmpfsMount = (mount: MountPoint): SpecMount => ({
  destination: mount.destination,
  type: 'tmpfs',
  source: 'tmpfs',
  options: [
    'nosuid',
    'nodev',
    ...(mount.options.includes('exec') ? [] : ['noexec']),
    ...mount.options.filter(option => option !== 'noexec'),
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
export const specMounts = (record: ContainerRecord, files: ContainerFiles): SpecMount[] => {
  const privileged = record.hostConfig.Privileged ?? false
  const user = record.mounts.map(mount => (mount.type === 'tmpfs' ? tmpfsMount(mount) : bindMount(mount)))
  const taken = new Set(user.map(mount => mount.destination))
  const readWrite = !(record.hostConfig.ReadonlyRootfs ?? false)
  const own = [
    ...(files.resolvConf ? [fileMount(files.resolvConf, '/etc/resolv.conf', readWrite)] : []),
    ...(files.hostname ? [fileMount(files.hostname, '/etc/hostname', readWrite)] : []),
    ...(files.hosts ? [fileMount(files.hosts, '/etc/hosts', readWrite)] : []),
    ...(files.init ? [fileMount(files.init, '/sbin/docker-init', false)] : []),
  ]
  const kernel = [...kernelMounts({ privileged, cgroupWritable: privileged }), ...shmMount(record, files)]
  const rest = [...own.filter(mount => !taken.has(mount.destination)), ...user]
  rest.sort((a, b) => depth(a) - depth(b))
  return [...kernel.filter(mount => !taken.has(mount.destination)), ...rest]
}
