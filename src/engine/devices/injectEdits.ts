import { lstatSync } from 'node:fs'
import { internal, messageOf } from '../../core/errors.ts'
import type { RuntimeSpec, SpecDevice, SpecHook, SpecMount } from '../../oci/runtimeSpec.ts'
import { deviceNumbers } from '../containers/privileges.ts'
import type { CdiDeviceNode, CdiHook, ContainerEdits } from './cdiSpecification.ts'

/** Puts what devices of CDI bring with them into a container's specification. */

interface HostNode {
  type: SpecDevice['type']
  major: number
  minor: number
  mode: number
}

export type NodeLookup = (path: string) => HostNode

/** Errors: those of lstat(2), or one for what is no device. */
export const hostNode: NodeLookup = path => {
  const found = lstatSync(path)
  const type = found.isBlockDevice()
    ? 'b'
    : found.isCharacterDevice()
      ? 'c'
      : found.isFIFO()
        ? 'p'
        : undefined
  if (!type) throw new Error('not a device node')
  return { type, ...deviceNumbers(found.rdev), mode: found.mode & 0o7777 }
}

const cannot = (text: string, cause?: unknown): Error =>
  internal(`CDI device injection failed: failed to inject devices: ${text}`, cause)

/** What a specification leaves out is taken from the host's node. */
const completed = (node: CdiDeviceNode, lookup: NodeLookup): SpecDevice => {
  const { path = '', hostPath = path, type = '', major = 0, minor = 0 } = node
  const isWhole = type !== '' && (major !== 0 || type === 'p')
  let host: HostNode | undefined
  try {
    host = lookup(hostPath || path)
  } catch (error) {
    if (!isWhole) throw cannot(`failed to stat CDI host device "${hostPath}": ${messageOf(error)}`, error)
  }
  if (!isWhole && host && type !== '' && type !== host.type)
    throw cannot(`CDI device ("${path}", "${hostPath}"), host type mismatch (${type}, ${host.type})`)
  const numbers = major !== 0 || !host || isWhole ? { major, minor } : host
  const fileMode = node.fileMode ?? host?.mode
  return {
    path,
    type: (type || host?.type || 'c') as SpecDevice['type'],
    major: numbers.major,
    minor: numbers.minor,
    ...(fileMode === undefined ? {} : { fileMode }),
  }
}

const addNode = (spec: RuntimeSpec, node: CdiDeviceNode, lookup: NodeLookup): void => {
  const { uid, gid } = spec.process.user
  const device: SpecDevice = {
    ...completed(node, lookup),
    ...(node.uid !== undefined || uid > 0 ? { uid: node.uid ?? uid } : {}),
    ...(node.gid !== undefined || gid > 0 ? { gid: node.gid ?? gid } : {}),
  }
  const { linux } = spec
  linux.devices = [...(linux.devices ?? []).filter(other => other.path !== device.path), device]
  if (device.type !== 'b' && device.type !== 'c') return
  const { type, major, minor } = device
  linux.resources.devices = [
    ...(linux.resources.devices ?? []),
    { allow: true, type, major, minor, access: node.permissions || 'rwm' },
  ]
}

const addVariables = (spec: RuntimeSpec, env: readonly string[]): void => {
  const byName = new Map(spec.process.env.map(entry => [entry.split('=', 1)[0], entry]))
  for (const entry of env) byName.set(entry.split('=', 1)[0], entry)
  spec.process.env = [...byName.values()]
}

const depth = ({ destination }: SpecMount): number => destination.split('/').filter(Boolean).length

/** A mount of the user's own stays where both want one place. */
const addMounts = (spec: RuntimeSpec, edits: ContainerEdits, taken: ReadonlySet<string>): void => {
  const mounts = (edits.mounts ?? [])
    .filter(({ containerPath = '' }) => !taken.has(containerPath))
    .map(({ hostPath = '', containerPath = '', options, type }) => ({
      source: hostPath,
      destination: containerPath,
      type: type || 'bind',
      ...(options ? { options } : {}),
    }))
  if (mounts.length === 0) return
  const replaced = new Set(mounts.map(({ destination }) => destination))
  spec.mounts = [...spec.mounts.filter(({ destination }) => !replaced.has(destination)), ...mounts]
  spec.mounts.sort((a, b) => depth(a) - depth(b))
}

const specHook = ({ path = '', args, env, timeout }: CdiHook): SpecHook => ({
  path,
  ...(args ? { args } : {}),
  ...(env ? { env } : {}),
  ...(timeout === undefined ? {} : { timeout }),
})

const addHooks = (spec: RuntimeSpec, hooks: readonly CdiHook[]): void => {
  for (const hook of hooks) {
    const name = hook.hookName as keyof NonNullable<RuntimeSpec['hooks']>
    spec.hooks = { ...spec.hooks, [name]: [...(spec.hooks?.[name] ?? []), specHook(hook)] }
  }
}

/** Changes `spec`. `taken` are the places of the container's own mounts. Errors: 500 for a device that the host does not have. */
export const injectEdits = (
  spec: RuntimeSpec,
  edits: ContainerEdits,
  { taken, lookup }: { taken: ReadonlySet<string>; lookup: NodeLookup },
): void => {
  addVariables(spec, edits.env ?? [])
  for (const node of edits.deviceNodes ?? []) addNode(spec, node, lookup)
  addMounts(spec, edits, taken)
  addHooks(spec, edits.hooks ?? [])
  if (edits.intelRdt) spec.linux.intelRdt = edits.intelRdt
  const { user } = spec.process
  const added = (edits.additionalGids ?? []).filter(gid => gid !== 0)
  user.additionalGids = [...new Set([...(user.additionalGids ?? []), ...added])]
}
