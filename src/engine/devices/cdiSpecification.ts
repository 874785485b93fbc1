import { badRequest } from '../../core/errors.ts'
import { bool, type Decoded, type Decoder, int, list, map, object, string } from '../../wire/decode.ts'
import { neededVersion, versions } from './cdiVersions.ts'

/**
 * Specifications of the Container Device Interface: what a vendor says has to be
 * in a container for each of its devices. A device's full name is
 * `vendor/class=name`; `vendor/class` is the kind of a specification.
 */

/** Refuses keys that the specification does not have: what they would have done is unknown. */
const exact =
  <F extends Record<string, Decoder<unknown>>>(fields: F): ReturnType<typeof object<F>> =>
  (value, path) => {
    for (const key of Object.keys((value ?? {}) as object))
      if (!(key in fields)) throw badRequest(`unknown field "${path === '' ? key : `${path}.${key}`}"`)
    return object(fields)(value, path)
  }

const deviceNode = exact({
  path: string,
  hostPath: string,
  type: string,
  major: int,
  minor: int,
  fileMode: int,
  permissions: string,
  uid: int,
  gid: int,
})
export type CdiDeviceNode = Decoded<typeof deviceNode>

const hook = exact({ hookName: string, path: string, args: list(string), env: list(string), timeout: int })
export type CdiHook = Decoded<typeof hook>

const mount = exact({ hostPath: string, containerPath: string, options: list(string), type: string })

const intelRdt = exact({
  closID: string,
  l3CacheSchema: string,
  memBwSchema: string,
  schemata: list(string),
  enableMonitoring: bool,
})

const containerEdits = exact({
  env: list(string),
  deviceNodes: list(deviceNode),
  netDevices: list(exact({ hostInterfaceName: string, name: string })),
  hooks: list(hook),
  mounts: list(mount),
  intelRdt,
  additionalGids: list(int),
})
export type ContainerEdits = Decoded<typeof containerEdits>

const specification = exact({
  cdiVersion: string,
  kind: string,
  annotations: map(string),
  devices: list(exact({ name: string, annotations: map(string), containerEdits })),
  containerEdits,
})
export type CdiSpecification = Decoded<typeof specification>

export const hookNames = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
]

const checkVariables = (env: readonly string[] = []): void => {
  for (const entry of env)
    if (entry.indexOf('=') <= 0) throw badRequest(`invalid environment variable ${JSON.stringify(entry)}`)
}

const checkNode = ({ path = '', type = '', permissions = '' }: CdiDeviceNode): void => {
  if (path === '') throw badRequest('invalid (empty) device path')
  if (!['', 'b', 'c', 'u', 'p'].includes(type))
    throw badRequest(`device ${JSON.stringify(path)}: invalid type ${JSON.stringify(type)}`)
  if (!/^[rwm]*$/.test(permissions))
    throw badRequest(`device ${JSON.stringify(path)}: invalid permissions ${JSON.stringify(permissions)}`)
}

const checkHook = ({ hookName = '', path = '', env }: CdiHook): void => {
  if (!hookNames.includes(hookName)) throw badRequest(`invalid hook name ${JSON.stringify(hookName)}`)
  if (path === '') throw badRequest(`invalid hook ${JSON.stringify(hookName)} with empty path`)
  checkVariables(env)
}

const checkEdits = (edits: ContainerEdits = {}): void => {
  checkVariables(edits.env)
  edits.deviceNodes?.forEach(checkNode)
  edits.hooks?.forEach(checkHook)
  for (const { hostPath, containerPath } of edits.mounts ?? []) {
    if (!hostPath) throw badRequest('invalid mount, empty host path')
    if (!containerPath) throw badRequest('invalid mount, empty container path')
  }
  const { closID = '' } = edits.intelRdt ?? {}
  if (closID !== '/' && (closID.length >= 4096 || ['.', '..'].includes(closID) || /[/\n]/.test(closID)))
    throw badRequest('invalid ClosID')
  if (edits.netDevices?.length) throw badRequest('network devices of CDI are not moved into containers yet')
}

const kindForm = /^[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?\/[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?$/
const nameForm = /^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$/

const checkDevices = ({ devices = [] }: CdiSpecification): void => {
  const seen = new Set<string>()
  for (const { name = '', containerEdits: edits } of devices) {
    if (!nameForm.test(name)) throw badRequest(`invalid device name ${JSON.stringify(name)}`)
    if (seen.has(name)) throw badRequest(`invalid spec, multiple device ${JSON.stringify(name)}`)
    seen.add(name)
    const says = Object.values(edits ?? {}).some(value => !Array.isArray(value) || value.length > 0)
    if (!says)
      throw badRequest(`failed add device ${JSON.stringify(name)}: invalid device, empty device edits`)
    checkEdits(edits)
  }
  if (seen.size === 0) throw badRequest('invalid spec, no devices')
}

/** Errors: `bad-request`, for what is no valid one. */
export const cdiSpecificationOf = (value: unknown): CdiSpecification => {
  const parsed = specification(value, '')
  const version = (parsed.cdiVersion ?? '').replace(/^v/, '')
  if (!versions.includes(version)) throw badRequest(`invalid version ${JSON.stringify(version)}`)
  const needed = neededVersion(parsed)
  if (versions.indexOf(needed) > versions.indexOf(version))
    throw badRequest(`the spec version must be at least v${needed}`)
  if (!kindForm.test(parsed.kind ?? ''))
    throw badRequest(`invalid kind ${JSON.stringify(parsed.kind ?? '')}, want "<vendor>/<class>"`)
  checkEdits(parsed.containerEdits)
  checkDevices(parsed)
  return parsed
}
