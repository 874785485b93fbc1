import type { SpecDevice, SpecDeviceRule, SpecMount } from '../../oci/runtimeSpec.ts'

/** What every Linux container gets unless its options say otherwise; the values are Docker's. */

export const maskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

export const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

/** Bytes. */
export const defaultShmSize = 64 * 1024 * 1024

const kernelMount = (type: string, destination: string, options: string): SpecMount => ({
  type,
  source: type,
  destination,
  options: options.split(','),
})

/** `/proc`, `/dev` and their kin, in the order in which they must be mounted; `/dev/shm` is the caller's. */
export const kernelMounts = (options: { privileged: boolean; cgroupWritable: boolean }): SpecMount[] => [
  kernelMount('proc', '/proc', 'nosuid,noexec,nodev'),
  kernelMount('tmpfs', '/dev', 'nosuid,strictatime,mode=755,size=65536k'),
  kernelMount('devpts', '/dev/pts', 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5'),
  kernelMount('sysfs', '/sys', options.privileged ? 'nosuid,noexec,nodev,rw' : 'nosuid,noexec,nodev,ro'),
  kernelMount(
    'cgroup',
    '/sys/fs/cgroup',
    options.cgroupWritable ? 'nosuid,noexec,nodev,rw' : 'ro,nosuid,noexec,nodev',
  ),
  kernelMount('mqueue', '/dev/mqueue', 'nosuid,noexec,nodev'),
]

const device = (major: number, minor: number): SpecDeviceRule => ({
  allow: true,
  type: 'c',
  major,
  minor,
  access: 'rwm',
})

/** Nothing but null, zero, full, random, urandom, tty, console. No further denials: crun cannot tell systemd of any. */
export const deviceRules: readonly SpecDeviceRule[] = [
  { allow: false, access: 'rwm' },
  device(1, 5),
  device(1, 3),
  device(1, 9),
  device(1, 8),
  device(5, 0),
  device(5, 1),
]

export const allowAllDevices: readonly SpecDeviceRule[] = [{ allow: true, access: 'rwm' }]

/** A device node of the host as the specification wants it. */
export const specDevice = (
  path: string,
  node: { type: 'c' | 'b'; major: number; minor: number; mode: number; uid: number; gid: number },
): SpecDevice => ({
  path,
  type: node.type,
  major: node.major,
  minor: node.minor,
  fileMode: node.mode & 0o7777,
  uid: node.uid,
  gid: node.gid,
})
