import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { badRequest, notFound, notImplemented } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import { digestOf } from '../../oci/digest.ts'
import { normalizePlatform, type Platform } from '../../oci/platform.ts'
import {
  type Definition,
  DefinitionSchema,
  type Op,
  OpSchema,
  type Platform as PlatformMessage,
  type SourceSchema,
} from '../../wire/buildkit/ops_pb.ts'
import { GraphBuilder, partOf } from '../graph/builder.ts'
import type { Graph, Operation, Step, VertexDigest } from '../graph/types.ts'
import { keptResult } from '../plan/context.ts'
import { sourceOperation } from './definitionSource.ts'
import type { DockerfileSource } from './frontend.ts'
import { type ClientOp, noVertex, opOfNothing, opsOf, vertexOfOp } from './vertexOps.ts'

/**
 * Graphs as clients have them (LLB, `pb.Definition`): operations, each named by
 * the digest of its bytes, and last one without an operation, whose input is the
 * result. A result of ours is given with all that makes it: to be shown, so that
 * the build it is of can be asked for a part, and so that another build can begin
 * with it. Of graphs of clients, those are taken that are one source.
 */

/** Under which the name of a step travels. */
const nameKey = 'llb.customname'
/** Under which a result is lent to other builds. */
const lentKey = 'berth.result'

/** Where the steps of a graph stand in its Dockerfile. */
const sourceMessage = (
  { vertices }: Graph,
  known: ReadonlyMap<VertexDigest, string>,
  { fileName, text }: DockerfileSource,
): MessageInitShape<typeof SourceSchema> => {
  const placed = [...vertices.values()].flatMap(({ digest, step }) => {
    const op = known.get(digest)
    return step.source && op !== undefined ? [[op, step.source.ranges] as const] : []
  })
  const position = (line: number) => ({ line, character: 0 })
  return {
    infos: [{ filename: fileName, data: Buffer.from(text), language: 'Dockerfile' }],
    locations: Object.fromEntries(
      placed.map(([op, lines]) => {
        const ranges = lines.map(({ start, end }) => ({ start: position(start), end: position(end) }))
        return [op, { locations: [{ sourceIndex: 0, ranges }] }]
      }),
    ),
  }
}

interface Given {
  ops: ClientOp[]
  metadata: Record<string, { description?: Record<string, string> }>
  /** The result. */
  digest: string
  index: number
  source?: MessageInitShape<typeof SourceSchema>
}

const definition = ({ ops, metadata, digest, index, source }: Given): Definition => {
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest, index: BigInt(index) }] }))
  return create(DefinitionSchema, {
    def: [...ops.map(({ bytes }) => bytes), last],
    metadata: { ...metadata, [digestOf(last)]: {} },
    ...(source ? { source } : {}),
  })
}

/** What a client is given with a result. `id`: by which other builds may have it. */
export const definitionOfResult = (
  graph: Graph,
  { id, source }: { id: string; source?: DockerfileSource | undefined },
): Definition => {
  const { vertices, result } = graph
  if (!result) {
    const nothing = opOfNothing()
    const { digest } = nothing
    return definition({ ops: [nothing], metadata: { [digest]: {} }, digest, index: 0 })
  }
  const ops = opsOf(graph)
  const known = new Map([...ops].map(([vertex, { digest }]) => [vertex, digest]))
  const metadata = [...vertices.values()].map(({ digest, step }) => {
    const lent = digest === result.vertex ? { [lentKey]: id } : {}
    return [known.get(digest) ?? '', { description: { [nameKey]: step.name, ...lent } }] as const
  })
  return definition({
    ops: [...ops.values()],
    metadata: Object.fromEntries(metadata),
    digest: known.get(result.vertex) ?? '',
    index: result.index,
    ...(source ? { source: sourceMessage(graph, known, source) } : {}),
  })
}

const platformOf = (message: PlatformMessage | undefined): Platform => {
  if (!message) return hostPlatform
  const { os, architecture, variant } = message
  return normalizePlatform({ os, architecture, ...(variant ? { variant } : {}) })
}

const parsed = (bytes: Uint8Array): Op => {
  try {
    return fromBinary(OpSchema, bytes)
  } catch (error) {
    throw badRequest('failed to parse llb proto op', error)
  }
}

/** The operation that gives the result; undefined for an empty one. Errors: `bad-request`. */
const resultOp = ({ def }: Definition): { op: Op; digest: string; index: number } | undefined => {
  const ops = new Map(def.map(bytes => [digestOf(bytes) as string, parsed(bytes)]))
  const [input] = [...ops.values()].at(-1)?.inputs ?? []
  if (!input) {
    if (def.length > 0) throw badRequest('invalid definition (LLB): its last operation has no input')
    return undefined
  }
  const op = ops.get(input.digest)
  if (!op) throw badRequest(`invalid definition (LLB): there is no operation ${input.digest}`)
  return { op, digest: input.digest, index: Number(input.index) }
}

const refuse = (op: Op): never => {
  const kind = op.op.case ?? 'unknown'
  throw notImplemented(
    `a graph of the client’s (LLB) with an operation of the kind ${kind}: only single sources are built,`,
  )
}

export interface DefinitionHost {
  /** The client's. */
  session: string
  /** What this build has planned so far that has this vertex. */
  planned(vertex: VertexDigest): Graph | undefined
  /** The step that makes what another build lends; undefined where that has ended. */
  lent(id: string): Step | undefined
  /** What a build had planned that has ended lately. */
  past(vertex: VertexDigest): Graph | undefined
}

const resultsOf = (operation: Operation): number =>
  operation.kind === 'exec'
    ? operation.mounts.filter(mount => mount.kind === 'bind' && mount.output !== undefined).length
    : 1

/** Errors: `bad-request` for a result that the step does not have. */
const partPlanned = (planned: Graph, vertex: VertexDigest, index: number): Graph => {
  const operation = planned.vertices.get(vertex)?.operation
  if (operation && index >= resultsOf(operation))
    throw badRequest(
      `invalid definition (LLB): an operation of the kind ${operation.kind} has no result ${index}`,
    )
  return partOf(planned, { vertex, index })
}

/** An operation of ours that came back: a part of this build, what another one lends, or what one has been that has ended. */
const ownResult = (
  vertex: VertexDigest,
  { index, lent, platform }: { index: number; lent: string | undefined; platform: Platform },
  host: DefinitionHost,
): Graph => {
  const planned = host.planned(vertex)
  if (planned) return partPlanned(planned, vertex, index)
  const step = lent === undefined ? undefined : host.lent(lent)
  if (lent !== undefined && step) {
    const builder = new GraphBuilder()
    const operation = { kind: 'result', id: lent } as const
    return builder.graph(builder.add({ operation, inputs: [], platform, step: { name: step.name } }))
  }
  const past = host.past(vertex)
  if (!past) throw notFound('a step of another build is not there any more: that build has ended')
  return partPlanned(past, vertex, index)
}

/** Errors: `bad-request` for what is none, `not-implemented` with what it is, `not-found` for a result that is gone. */
export const readDefinition = (definition: Definition, host: DefinitionHost): Graph => {
  const builder = new GraphBuilder()
  const found = resultOp(definition)
  if (!found) return builder.graph(undefined)
  const { op, digest, index } = found
  const platform = platformOf(op.platform)
  const { [nameKey]: name, [lentKey]: lent } = definition.metadata[digest]?.description ?? {}
  const vertex = vertexOfOp(op)
  if (vertex === noVertex) return builder.graph(undefined)
  if (vertex !== undefined) return ownResult(vertex as VertexDigest, { index, lent, platform }, host)
  if (index !== 0) throw notImplemented(`the result ${index} of an operation of a client’s graph (LLB)`)
  if (op.op.case !== 'source') return refuse(op)
  const { identifier, attrs } = op.op.value
  const operation = sourceOperation(identifier, attrs, host.session)
  const step = { name: name || identifier }
  return keptResult(builder, builder.add({ operation, inputs: [], platform, step }))
}
