import { chmodSync, chownSync, openSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { UndoStack } from '../../../core/disposal.ts'
import { BerthError } from '../../../core/errors.ts'
import { newId } from '../../../core/ids.ts'
import { copyTree } from '../../../engine/containers/copyTree.ts'
import { rootOptions } from '../../../engine/containers/selinuxLabels.ts'
import type { ContainerRecord, MountPoint } from '../../../engine/containers/types.ts'
import { O_DIRECTORY, O_RDONLY, openIn, owned } from '../../../linux/files.ts'
import { outsideOf } from '../../../linux/idMaps.ts'
import type { Layer, PendingSnapshot } from '../../../store/types.ts'
import type { ExecMount, InputIndex } from '../../graph/types.ts'
import type { LayerRef } from '../../solver/types.ts'
import { listenForAgent } from './agent.ts'
import { bindPoint } from './record.ts'
import type { ExecStep, ExecTools } from './types.ts'

/** What a step writes that becomes a result. */
export interface Output {
  index: number
  below: readonly LayerRef[]
  /** Absent: nothing could be written, and it is what it was. */
  pending?: PendingSnapshot
}

/** A step on its way: what is made for it is taken away by `undo`. */
export interface Preparation {
  tools: ExecTools
  step: ExecStep
  record: ContainerRecord
  /** On memory, for what is only there while it runs. */
  directory: string
  undo: UndoStack
}

export interface PreparedMounts {
  points: MountPoint[]
  outputs: Output[]
}

type Bind = ExecMount & { kind: 'bind' }

const refsOf = ({ step }: Preparation, input: InputIndex): readonly LayerRef[] =>
  input === undefined ? [] : (step.inputs[input]?.layers ?? [])

const layersOf = async (preparation: Preparation, input: InputIndex): Promise<Layer[]> =>
  preparation.tools.layersOf({ layers: refsOf(preparation, input) }, preparation.step.signal)

/** A stack as it is, for reading or to be written to: then what is written is a result, or thrown away. */
export const mountStack = async (
  preparation: Preparation,
  { target, input, readOnly, output }: Pick<Bind, 'target' | 'input' | 'readOnly' | 'output'>,
): Promise<{ root: string; outputs: Output[] }> => {
  const { tools, record, undo } = preparation
  const layers = await layersOf(preparation, input)
  const below = refsOf(preparation, input)
  if (readOnly) {
    const view = await tools.snapshots.view(layers, rootOptions(record))
    undo.push('view', () => view[Symbol.asyncDispose]())
    return { root: view.root, outputs: output === undefined ? [] : [{ index: output, below }] }
  }
  const pending = await tools.snapshots.begin(newId(), layers, {
    // Only in a root is anything mounted that every container has.
    init: target === '/',
    ...rootOptions(record),
  })
  undo.push('snapshot', () => pending[Symbol.asyncDispose]())
  return { root: pending.root, outputs: output === undefined ? [] : [{ index: output, below, pending }] }
}

/** Of inside, as the host has it. */
const ownerOutside = (
  { idMaps }: ContainerRecord,
  { uid, gid }: { uid: number; gid: number },
): { uid: number; gid: number } =>
  idMaps ? { uid: outsideOf(idMaps.uids, uid) ?? uid, gid: outsideOf(idMaps.gids, gid) ?? gid } : { uid, gid }

const cachePoint = async (
  preparation: Preparation,
  mount: ExecMount & { kind: 'cache' },
): Promise<MountPoint> => {
  const { tools, step, record, undo } = preparation
  const below = refsOf(preparation, mount.input)
  const origin = below.map(layer => (layer.kind === 'snapshot' ? layer.id : layer.diffId)).join(' ')
  const held = await tools.cacheMounts.take(
    {
      key: cacheKey(mount, origin),
      sharing: mount.sharing,
      description: `mount ${mount.target} from exec ${step.operation.args.join(' ')}`,
      owner: mount.owner ?? { uid: 0, gid: 0, mode: 0o755 },
      ...(mount.input === undefined || mount.owner
        ? {}
        : { fill: directory => fillCache(preparation, mount, directory) }),
    },
    step.signal,
  )
  undo.push('cache mount', () => held[Symbol.asyncDispose]())
  return {
    ...bindPoint({ source: held.path, destination: mount.target, readWrite: !mount.readOnly }),
    // What is on disk is what is inside.
    ...(record.idMaps ? { idMapping: { source: 'userns' as const } } : {}),
  }
}

/** As with BuildKit, a folder of another owner or mode is another one. */
const cacheKey = ({ id, source, owner }: ExecMount & { kind: 'cache' }, origin: string): string =>
  JSON.stringify([id, origin, origin === '' ? '' : source, ...(owner ? [owner] : [])])

const fillCache = async (
  preparation: Preparation,
  { input, source }: ExecMount & { kind: 'cache' },
  directory: string,
): Promise<void> => {
  const { tools, step } = preparation
  await using view = await tools.snapshots.view(await layersOf(preparation, input))
  using root = owned(openSync(view.root, 'r'))
  using folder = owned(openIn(root.fd, source, { flags: O_RDONLY | O_DIRECTORY }))
  await copyTree(folder.fd, directory, step.signal)
}

/** Secrets are in memory alone, and only while the step runs. */
const secretPoint = async (
  { step, record, directory }: Preparation,
  mount: ExecMount & { kind: 'secret' },
): Promise<MountPoint[]> => {
  const bytes = await step.clients.secret(mount.id, step.signal)
  if (!bytes) {
    if (!mount.required) return []
    throw new BerthError('not-found', 404, `secret ${mount.id}: not found`)
  }
  const file = path.join(directory, `secret-${newId()}`)
  writeFileSync(file, bytes, { mode: 0o600, flag: 'wx' })
  const { uid, gid } = ownerOutside(record, mount)
  chownSync(file, uid, gid)
  chmodSync(file, mount.mode & 0o777)
  return [bindPoint({ source: file, destination: mount.target, readWrite: false })]
}

const agentPoint = async (
  { step, record, directory, undo }: Preparation,
  mount: ExecMount & { kind: 'ssh' },
): Promise<MountPoint[]> => {
  const connect = await step.clients.agent(mount.id, step.signal)
  if (!connect) {
    if (!mount.required) return []
    throw new BerthError('not-found', 404, `no SSH key ${JSON.stringify(mount.id)} forwarded from the client`)
  }
  const socket = path.join(directory, `agent-${newId().slice(0, 12)}`)
  const listener = await listenForAgent(socket, connect)
  undo.push('ssh agent', () => listener[Symbol.asyncDispose]())
  const { uid, gid } = ownerOutside(record, mount)
  chownSync(socket, uid, gid)
  chmodSync(socket, mount.mode & 0o777)
  return [bindPoint({ source: socket, destination: mount.target, readWrite: true })]
}

const bindOf = async (preparation: Preparation, mount: Bind): Promise<PreparedMounts> => {
  const { root, outputs } = await mountStack(preparation, mount)
  const subpath = path.posix.relative('/', path.posix.join('/', mount.source))
  const point = bindPoint({ source: root, destination: mount.target, readWrite: !mount.readOnly })
  return { points: [subpath === '' ? point : { ...point, subpath }], outputs }
}

const tmpfsPoint = ({ target, readOnly, size }: ExecMount & { kind: 'tmpfs' }): MountPoint => ({
  ...bindPoint({ source: '', destination: target, readWrite: !readOnly }),
  type: 'tmpfs',
  // As BuildKit has it: programs may be run, devices used.
  options: ['exec', 'dev', ...(size ? [`size=${size}`] : []), ...(readOnly ? ['ro'] : [])],
})

const prepareOne = async (preparation: Preparation, mount: ExecMount): Promise<PreparedMounts> => {
  switch (mount.kind) {
    case 'bind':
      return bindOf(preparation, mount)
    case 'cache':
      return { points: [await cachePoint(preparation, mount)], outputs: [] }
    case 'tmpfs':
      return { points: [tmpfsPoint(mount)], outputs: [] }
    case 'secret':
      return { points: await secretPoint(preparation, mount), outputs: [] }
    case 'ssh':
      return { points: await agentPoint(preparation, mount), outputs: [] }
  }
}

/** Scripts and texts of the Dockerfile that the process reads. */
const filePoints = ({ step, directory }: Preparation): MountPoint[] =>
  step.operation.files.map(({ path: destination, content, mode }, index) => {
    const source = path.join(directory, `file-${index}`)
    writeFileSync(source, content, { mode: 0o600, flag: 'wx' })
    chmodSync(source, mode)
    return bindPoint({ source, destination, readWrite: false })
  })

/** All mounts but the root, in the order of the step. Errors: `not-found` for secrets and agents, those of mounting. */
export const prepareMounts = async (preparation: Preparation): Promise<PreparedMounts> => {
  const prepared: PreparedMounts = { points: filePoints(preparation), outputs: [] }
  for (const mount of preparation.step.operation.mounts.slice(1)) {
    const { points, outputs } = await prepareOne(preparation, mount)
    prepared.points.push(...points)
    prepared.outputs.push(...outputs)
  }
  return prepared
}

/** Whether what is to be mounted is a folder, of one as the runtime is to bind it. */
export const isFolder = ({ type, source }: MountPoint): boolean =>
  type === 'tmpfs' || statSync(source).isDirectory()
