import { badRequest, internal } from '../../core/errors.ts'
import type { RuntimeSpec } from '../../oci/runtimeSpec.ts'
import type { HostConfig } from '../../wire/container.ts'
import { type CdiDevices, editsOf, readCdiDevices } from './cdiFolders.ts'
import { hostNode, injectEdits, type NodeLookup } from './injectEdits.ts'

/** Devices that are asked for by what they can do (`--gpus`) or by their name in CDI (`--device vendor/class=name`). */

export type DeviceRequest = NonNullable<HostConfig['DeviceRequests']>[number]

const nvidia = ['gpu', 'nvidia', 'compute', 'compat32', 'graphics', 'utility', 'video', 'display', 'ngx']

/** Vendors of GPUs in the order in which they are looked for; what each can do. */
const vendors: { vendor: string; drivers: string[]; can: string[] }[] = [
  { vendor: 'nvidia.com', drivers: ['nvidia', 'nvidia.cdi'], can: nvidia },
  { vendor: 'amd.com', drivers: ['amd'], can: ['gpu', 'amd'] },
]

const noDriver = ({ Driver = '', Capabilities = [] }: DeviceRequest): Error =>
  internal(
    `could not select device driver ${JSON.stringify(Driver)} with capabilities: [${Capabilities.map(all => `[${all.join(' ')}]`).join(' ')}]`,
  )

/** The kind of CDI that answers a request by its driver, or by what the device can do. */
const gpuKind = (request: DeviceRequest, devices: CdiDevices): string => {
  const { Driver: driver = '', Capabilities: wanted = [] } = request
  const found = vendors.find(({ vendor }) => devices.vendors.has(vendor))
  if (!found) throw noDriver(request)
  const fits =
    driver === ''
      ? wanted.some(all => all.every(one => found.can.includes(one)))
      : found.drivers.includes(driver)
  if (!fits) throw noDriver(request)
  return `${found.vendor}/gpu`
}

const idsOf = ({ Count: count = 0, DeviceIDs: ids = [] }: DeviceRequest): string[] => {
  if (count !== 0 && ids.length > 0) throw badRequest('cannot set both Count and DeviceIDs on device request')
  if (ids.length > 0) return ids
  return count < 0 ? ['all'] : Array.from({ length: count }, (_, index) => String(index))
}

/** Full names of the devices that a request means. Errors: 400 and 500 in Docker's words. */
export const requestedDevices = (request: DeviceRequest, devices: CdiDevices): string[] => {
  if (request.Driver !== 'cdi') {
    const kind = gpuKind(request, devices)
    return idsOf(request).map(id => (id.includes('=') ? id : `${kind}=${id}`))
  }
  if (request.Count) throw badRequest('unexpected count in CDI device request')
  if (Object.keys(request.Options ?? {}).length) throw badRequest('unexpected options in CDI device request')
  return request.DeviceIDs ?? []
}

/** Changes `spec`, as each request says in turn. `folders` is empty where CDI is switched off. */
export const injectDevices = async (
  spec: RuntimeSpec,
  requests: readonly DeviceRequest[],
  options: { folders: readonly string[]; taken: ReadonlySet<string>; lookup?: NodeLookup },
): Promise<void> => {
  if (requests.length === 0) return
  const devices = await readCdiDevices(options.folders)
  for (const request of requests) {
    if (options.folders.length === 0) throw noDriver(request)
    const edits = editsOf(devices, requestedDevices(request, devices))
    injectEdits(spec, edits, { taken: options.taken, lookup: options.lookup ?? hostNode })
  }
}

/** For `GET /info`. */
export const discoveredDevices = async (
  folders: readonly string[],
): Promise<{ devices: { Source: string; ID: string }[]; warnings: string[] }> => {
  const { devices, problems } = await readCdiDevices(folders)
  return {
    devices: [...devices.keys()].sort().map(ID => ({ Source: 'cdi', ID })),
    warnings: problems.map(({ file, text }) => `CDI: Error associated with spec file ${file}: ${text}`),
  }
}
