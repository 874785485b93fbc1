import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { digestOf } from '../../oci/digest.ts'
import {
  type ExecOpSchema,
  type FileActionSchema,
  type MountSchema,
  MountType,
  NetMode,
  type Op,
  OpSchema,
  SecurityMode,
} from '../../wire/buildkit/ops_pb.ts'
import type {
  ExecMount,
  ExecOperation,
  FileAction,
  FileOperation,
  Graph,
  InputIndex,
  Operation,
  SourceOperation,
  Vertex,
  VertexDigest,
} from '../graph/types.ts'
import { withoutPassword } from '../plan/gitUrl.ts'

/**
 * Vertices as clients know them (`pb.Op`): to be shown, and to be named when a
 * part of a build is asked for. What is done is what the vertex says: contents
 * of files, attributes of sources and the like are left out.
 */

type OpCase = NonNullable<MessageInitShape<typeof OpSchema>['op']>

const indexOf = (input: InputIndex): bigint => BigInt(input ?? -1)

const mountTypes = {
  bind: MountType.BIND,
  cache: MountType.CACHE,
  tmpfs: MountType.TMPFS,
  secret: MountType.SECRET,
  ssh: MountType.SSH,
} as const

const networks = { default: NetMode.UNSET, host: NetMode.HOST, none: NetMode.NONE } as const

const mountMessage = (mount: ExecMount): MessageInitShape<typeof MountSchema> => ({
  dest: mount.target,
  readonly: mount.readOnly,
  mountType: mountTypes[mount.kind],
  input: -1n,
  output: -1n,
  ...(mount.kind === 'bind' ? { input: indexOf(mount.input), output: indexOf(mount.output) } : {}),
  ...(mount.kind === 'bind' && mount.source !== '/' ? { selector: mount.source } : {}),
  ...(mount.kind === 'tmpfs' && mount.size ? { tmpfsOpt: { size: BigInt(mount.size) } } : {}),
  ...(mount.kind === 'cache' ? { input: indexOf(mount.input), cacheOpt: { id: mount.id } } : {}),
  ...(mount.kind === 'secret' ? { secretOpt: ownedMessage(mount) } : {}),
  ...(mount.kind === 'ssh' ? { sshOpt: ownedMessage(mount) } : {}),
})

const ownedMessage = ({ id, uid, gid, mode, required }: ExecMount & { kind: 'secret' | 'ssh' }) => ({
  ...{ id, uid, gid, mode },
  optional: !required,
})

const execMessage = (operation: ExecOperation): MessageInitShape<typeof ExecOpSchema> => ({
  meta: {
    args: operation.args,
    env: operation.env,
    cwd: operation.directory,
    user: operation.user,
    hostname: operation.hostname ?? '',
    extraHosts: operation.extraHosts.map(({ host, address: ip }) => ({ host, ip })),
  },
  mounts: operation.mounts.map(mountMessage),
  network: networks[operation.network],
  security: operation.security === 'insecure' ? SecurityMode.INSECURE : SecurityMode.SANDBOX,
  secretenv: operation.secretEnv.map(({ id, name, required }) => ({ id, name, optional: !required })),
})

const actionMessage = (
  action: FileAction,
): NonNullable<MessageInitShape<typeof FileActionSchema>['action']> => {
  switch (action.kind) {
    case 'copy':
      return {
        case: 'copy',
        value: { src: action.source, dest: action.destination, modeStr: action.mode ?? '' },
      }
    case 'makeDirectory':
      return { case: 'mkdir', value: { path: action.path, mode: action.mode } }
    case 'makeFile':
      return { case: 'mkfile', value: { path: action.path, mode: action.mode } }
    case 'remove':
      return { case: 'rm', value: { path: action.path } }
  }
}

/** Each goes on from what the one before it gave: those are numbered after the inputs. */
const actionMessages = (
  { actions, base }: FileOperation,
  inputs: number,
): MessageInitShape<typeof FileActionSchema>[] =>
  actions.map((action, number) => ({
    input: number === 0 ? indexOf(base) : BigInt(inputs + number - 1),
    secondaryInput: indexOf(action.kind === 'copy' ? action.from : undefined),
    output: number === actions.length - 1 ? 0n : -1n,
    action: actionMessage(action),
  }))

/** Names a result that another build lends. Nobody else fetches by it. */
const resultScheme = 'berth-result://'

const identifierOf = (operation: SourceOperation): string => {
  switch (operation.kind) {
    case 'result':
      return resultScheme + operation.id
    case 'image':
      return `docker-image://${operation.reference}`
    case 'oci-layout':
      return `oci-layout://${operation.reference}`
    case 'local':
      return `local://${operation.name}`
    case 'git':
      return `git://${withoutPassword(operation.remote)}${operation.ref === '' ? '' : `#${operation.ref}`}`
    case 'http':
      return withoutPassword(operation.url)
  }
}

const operationMessage = (operation: Operation, inputs: number): OpCase => {
  switch (operation.kind) {
    case 'exec':
      return { case: 'exec', value: execMessage(operation) }
    case 'file':
      return { case: 'file', value: { actions: actionMessages(operation, inputs) } }
    case 'merge':
      return {
        case: 'merge',
        value: { inputs: Array.from({ length: inputs }, (_, input) => ({ input: BigInt(input) })) },
      }
    default:
      return { case: 'source', value: { identifier: identifierOf(operation) } }
  }
}

/** A constraint that names the vertex: what is left out of the operation tells vertices apart, too. */
const vertexFilter = 'berth.vertex=='

/** Stands for the vertex of an empty file system, which has none. */
export const noVertex = 'none'

/** `known`: digests under which clients know what it takes. */
const opOfVertex = (
  { digest, inputs, operation, platform }: Vertex,
  known: ReadonlyMap<VertexDigest, ClientOp>,
): Op =>
  create(OpSchema, {
    inputs: inputs.map(({ vertex, index }) => ({
      digest: known.get(vertex)?.digest ?? '',
      index: BigInt(index),
    })),
    platform: { os: platform.os, architecture: platform.architecture, variant: platform.variant ?? '' },
    constraints: { filter: [vertexFilter + digest] },
    op: operationMessage(operation, inputs.length),
  })

/** In the order in which Go writes it, what is one of several last: clients write it anew to find it by its digest. */
const opBytes = ({ inputs, platform, constraints, op }: Op): Uint8Array =>
  Buffer.concat([
    toBinary(
      OpSchema,
      create(OpSchema, {
        inputs,
        ...(platform ? { platform } : {}),
        ...(constraints ? { constraints } : {}),
      }),
    ),
    toBinary(OpSchema, create(OpSchema, { op })),
  ])

/** Of an empty file system: clients cannot take a graph without an operation. */
export const opOfNothing = (): ClientOp => {
  const op = create(OpSchema, {
    constraints: { filter: [vertexFilter + noVertex] },
    op: { case: 'source', value: { identifier: 'scratch' } },
  })
  const bytes = opBytes(op)
  return { op, bytes, digest: digestOf(bytes) }
}

export interface ClientOp {
  op: Op
  bytes: Uint8Array
  /** Of the bytes. */
  digest: string
}

/** Of all vertices of a graph, each after those that it takes. */
export const opsOf = ({ vertices }: Graph): Map<VertexDigest, ClientOp> => {
  const ops = new Map<VertexDigest, ClientOp>()
  for (const vertex of vertices.values()) {
    const op = opOfVertex(vertex, ops)
    const bytes = opBytes(op)
    ops.set(vertex.digest, { op, bytes, digest: digestOf(bytes) })
  }
  return ops
}

/** The vertex that an operation of ours stands for, or `noVertex`; undefined for others. */
export const vertexOfOp = ({ constraints }: Op): string | undefined => {
  const [filter] = constraints?.filter ?? []
  return filter?.startsWith(vertexFilter) ? filter.slice(vertexFilter.length) : undefined
}
