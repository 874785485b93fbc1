import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { badRequest, hasCode } from '../../core/errors.ts'
import type { SpecDevice } from '../../oci/runtimeSpec.ts'
import { capabilitiesOfMask } from '../../runtime/spec/capabilities.ts'
import { specDevice } from '../../runtime/spec/defaults.ts'
import type { ContainerRecord } from './types.ts'

/** What of the host a container gets: capabilities and devices. */

/** The capabilities that this daemon has and so can give. */
export const hostCapabilities = (() => {
  let known: string[] | undefined
  return (): readonly string[] => {
    const mask = (text: string, name: string): bigint =>
      BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)`, 'm').exec(text)?.[1] ?? '0'}`)
    if (!known) {
      const status = readFileSync('/proc/self/status', 'utf8')
      known = capabilitiesOfMask(mask(status, 'CapBnd') & mask(status, 'CapEff'))
    }
    return known
  }
})()

export interface ContainerDevice {
  device: SpecDevice
  /** Its path on the host. */
  source: string
  /** Some of `rwm`. */
  access: string
}

// Linux's encoding of a device number (gnu_dev_major and gnu_dev_minor).
const major = (device: number): number => Number((BigInt(device) >> 8n) & 0xfffn)
const minor = (device: number): number =>
  Number((BigInt(device) & 0xffn) | ((BigInt(device) >> 12n) & 0xfff00n))

export const deviceNumbers = (device: number): { major: number; minor: number } => ({
  major: major(device),
  minor: minor(device),
})

const deviceAt = (source: string, destination: string): SpecDevice | undefined => {
  const found = statSync(source)
  if (!found.isCharacterDevice() && !found.isBlockDevice()) return undefined
  const type = found.isBlockDevice() ? 'b' : 'c'
  return specDevice(destination, {
    type,
    ...deviceNumbers(found.rdev),
    mode: found.mode,
    uid: found.uid,
    gid: found.gid,
  })
}

const skipped = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'ptmx', 'core'])

const devicesBelow = (folder: string, destination: string): ContainerDevice[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    if (skipped.has(entry.name) || entry.isSymbolicLink()) return []
    const source = path.join(folder, entry.name)
    const target = path.join(destination, entry.name)
    if (entry.isDirectory()) return devicesBelow(source, target)
    try {
      const device = deviceAt(source, target)
      return device ? [{ device, source, access: 'rwm' }] : []
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  })

type DeviceMapping = NonNullable<ContainerRecord['hostConfig']['Devices']>[number]

const mappedDevices = ({
  PathOnHost: source = '',
  PathInContainer: target = '',
  CgroupPermissions: access = 'rwm',
}: DeviceMapping): ContainerDevice[] => {
  const cannot = (why: string): Error =>
    badRequest(`error gathering device information while adding custom device "${source}": ${why}`)
  if (!/^[rwm]{1,3}$/.test(access)) throw badRequest(`invalid device mode: ${access}`)
  try {
    const device = deviceAt(source, target || source)
    if (device) return [{ device, source, access }]
    const below = statSync(source).isDirectory() ? devicesBelow(source, target || source) : []
    if (below.length === 0) throw cannot('not a device node')
    return below.map(found => ({ ...found, access }))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw cannot('no such file or directory')
    throw error
  }
}

/**
 * Devices of `--device` (a directory means all below it); for a privileged
 * container all of the host's, and by another name those that have one. Errors: `bad-request`.
 */
export const containerDevices = ({ hostConfig }: ContainerRecord): ContainerDevice[] => {
  const mappings = hostConfig.Devices ?? []
  if (!hostConfig.Privileged) return mappings.flatMap(mappedDevices)
  const renamed = mappings.filter(
    ({ PathOnHost: source, PathInContainer: target }) => source !== (target || source),
  )
  return [...devicesBelow('/dev', '/dev'), ...renamed.flatMap(mappedDevices)]
}
