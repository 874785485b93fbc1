import { badRequest } from '../core/errors.ts'
import { cgroupVersion } from '../linux/cgroups.ts'
import type { CreateRequest, EndpointSettings, MountRequest, UpdateRequest } from '../wire/container.ts'
import type { ApiVersion } from '../wire/version.ts'
import { moveInterfaceSysctls } from './createSysctls.ts'

/**
 * A create as a client of an older API version means it: fields that came later are taken away, defaults of that
 * time are filled in, and what was dropped since is translated. Everything behind the door knows the newest form.
 */

type Change = (request: CreateRequest, version: ApiVersion) => string | undefined

const mountsOf = (request: CreateRequest): MountRequest[] => request.HostConfig?.Mounts ?? []

const optionTypes = { VolumeOptions: 'volume', BindOptions: 'bind', TmpfsOptions: 'tmpfs' } as const

const mountOptions: Change = (request, version) => {
  for (const mount of mountsOf(request)) {
    for (const field of ['VolumeOptions', 'BindOptions', 'TmpfsOptions'] as const) {
      if (!mount[field] || mount.Type === optionTypes[field]) continue
      if (version.atLeast('1.42'))
        throw badRequest(`${field} must not be specified on mount type "${mount.Type ?? ''}"`)
      if (field !== 'BindOptions') delete mount[field]
    }
    if (!version.atLeast('1.42')) delete mount.BindOptions?.CreateMountpoint
    if (version.atLeast('1.44') || mount.Type !== 'bind') continue
    if (mount.BindOptions?.ReadOnlyForceRecursive)
      throw badRequest('BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer')
  }
  return undefined
}

const laterMounts: Change = (request, version) => {
  for (const mount of mountsOf(request)) {
    if (mount.VolumeOptions?.Subpath && !version.atLeast('1.45'))
      throw badRequest('VolumeOptions.Subpath needs API v1.45 or newer')
    if (mount.Type === 'image' && !version.atLeast('1.48'))
      throw badRequest('Mount type "Image" needs API v1.48 or newer')
  }
  return undefined
}

const sharedMemory: Change = (request, version) => {
  if (version.atLeast('1.40')) return undefined
  for (const mount of mountsOf(request)) delete mount.BindOptions?.NonRecursive
  request.HostConfig ??= {}
  request.HostConfig.IpcMode ||= 'shareable'
  return undefined
}

const gatewayPriority: Change = ({ NetworkingConfig }, version) => {
  if (version.atLeast('1.48')) return undefined
  for (const endpoint of Object.values(NetworkingConfig?.EndpointsConfig ?? {})) delete endpoint?.GwPriority
  return undefined
}

const volumeDriver: Change = (request, version) => {
  if (!request.HostConfig?.VolumeDriver || !version.atLeast('1.48')) return undefined
  return mountsOf(request).some(mount => mount.Type === 'volume' && !mount.VolumeOptions?.DriverConfig?.Name)
    ? "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
    : undefined
}

const laterFields: Change = ({ HostConfig: host, Healthcheck: health, NetworkingConfig }, version) => {
  if (host && !version.atLeast('1.41') && !host.CgroupnsMode && cgroupVersion === 1)
    host.CgroupnsMode = 'host'
  if (host && !version.atLeast('1.42')) delete host.ConsoleSize
  if (host && !version.atLeast('1.43')) delete host.Annotations
  if (version.atLeast('1.44')) return undefined
  delete health?.StartInterval
  const names = Object.keys(NetworkingConfig?.EndpointsConfig ?? {})
  if (names.length > 1)
    throw badRequest(`Container cannot be created with multiple network endpoints: ${names.join(', ')}`)
  return undefined
}

const legacyCapabilities: Change = ({ HostConfig: host }, version) => {
  if (host?.Capabilities?.length && version.atLeast('1.40') && !version.atLeast('1.41'))
    throw badRequest(
      'the HostConfig.Capabilities field is not supported by this daemon; use CapAdd and CapDrop to set capabilities',
    )
  return undefined
}

/** The endpoint of the container's main network; it is made where the request names none. */
const mainEndpoint = (request: CreateRequest, version: ApiVersion): EndpointSettings => {
  const mode = request.HostConfig?.NetworkMode || 'default'
  request.NetworkingConfig ??= {}
  request.NetworkingConfig.EndpointsConfig ??= {}
  const endpoints = request.NetworkingConfig.EndpointsConfig
  const [first] = Object.values(endpoints)
  const found = first && !version.atLeast('1.44') ? first : endpoints[mode]
  if (found) return found
  if (first)
    throw badRequest(
      'unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks',
    )
  const made: EndpointSettings = {}
  endpoints[mode] = made
  return made
}

const macAddress: Change = (request, version) => {
  const mac = request.MacAddress
  delete request.MacAddress
  const mode = request.HostConfig?.NetworkMode ?? ''
  const joins = mode === 'host' || mode === 'none' || mode.startsWith('container:')
  if (!mac) {
    if (version.atLeast('1.44')) return undefined
    for (const endpoint of Object.values(request.NetworkingConfig?.EndpointsConfig ?? {}))
      delete endpoint?.MacAddress
    return undefined
  }
  if (version.atLeast('1.52'))
    throw badRequest(
      'container-wide MAC address no longer supported; use endpoint-specific MAC address instead',
    )
  if (joins && !version.atLeast('1.44'))
    throw badRequest('conflicting options: mac-address and the network mode')
  if (!joins) {
    const endpoint = mainEndpoint(request, version)
    if (version.atLeast('1.44') && endpoint.MacAddress && endpoint.MacAddress !== mac)
      throw badRequest(
        'the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty',
      )
    endpoint.MacAddress = mac
  }
  return version.atLeast('1.44')
    ? 'The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.'
    : undefined
}

/** A port with an empty list of bindings is published on one that the daemon chooses. */
const emptyBindings: Change = ({ HostConfig: host }, version) => {
  const bindings = host?.PortBindings ?? {}
  const bare = Object.keys(bindings).filter(port => !bindings[port]?.length)
  for (const port of bare) bindings[port] = [{}]
  if (bare.length === 0 || !version.atLeast('1.52')) return undefined
  return `Following container port(s) have an empty list of port-bindings: ${bare.join(', ')}. Such bindings will be discarded in a future version.`
}

const interfaceSysctls: Change = (request, version) =>
  moveInterfaceSysctls(request, version, () => mainEndpoint(request, version))

const changes: Change[] = [
  sharedMemory,
  mountOptions,
  laterMounts,
  laterFields,
  gatewayPriority,
  volumeDriver,
  legacyCapabilities,
  macAddress,
  interfaceSysctls,
  emptyBindings,
]

/** Before 1.44 a read-only bind left the mounts below it alone. */
const oldReadOnly = (request: CreateRequest): void => {
  for (const mount of mountsOf(request))
    if (mount.Type === 'bind' && mount.ReadOnly)
      mount.BindOptions = { ...mount.BindOptions, ReadOnlyNonRecursive: true }
}

/** Changes the request in place. Errors: `bad-request` in Docker's words. Returns warnings. */
export const adaptCreate = (request: CreateRequest, version: ApiVersion): string[] => {
  const warnings = changes.flatMap(change => change(request, version) ?? [])
  if (!version.atLeast('1.44')) oldReadOnly(request)
  return warnings
}

/** The same for an update. */
export const adaptUpdate = (request: UpdateRequest, version: ApiVersion): void => {
  if (!version.atLeast('1.40')) delete request.PidsLimit
  if (version.atLeast('1.55')) return
  delete request.BlkioWeightDevice
  delete request.BlkioDeviceReadBps
  delete request.BlkioDeviceWriteBps
  delete request.BlkioDeviceReadIOps
  delete request.BlkioDeviceWriteIOps
}
