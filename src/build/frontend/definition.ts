import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { badRequest, notImplemented } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import { digestOf } from '../../oci/digest.ts'
import { normalizePlatform, type Platform } from '../../oci/platform.ts'
import {
  type Definition,
  DefinitionSchema,
  type Op,
  OpSchema,
  type Platform as PlatformMessage,
} from '../../wire/buildkit/ops_pb.ts'
import { GraphBuilder } from '../graph/builder.ts'
import type { Graph } from '../graph/types.ts'
import { keptResult } from '../plan/context.ts'
import { sourceOperation } from './definitionSource.ts'

/**
 * Graphs as clients have them (LLB, `pb.Definition`): operations, each named by
 * the digest of its bytes, and last one without an operation, whose input is the
 * result. Results of ours are given as a source of our own that names them, so
 * that who has one can give it as an input of another build. Of graphs of
 * clients, those are taken that are one source.
 */

/** Names a result that is lent. Nobody else fetches by it. */
const resultScheme = 'berth-result://'

/** Under which the name of a step travels. */
const nameKey = 'llb.customname'

/** What a client is given for a result that it may use in other builds. */
export const definitionOfResult = (id: string): Definition => {
  const source = create(OpSchema, { op: { case: 'source', value: { identifier: resultScheme + id } } })
  const bytes = toBinary(OpSchema, source)
  const digest = digestOf(bytes)
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest }] }))
  return create(DefinitionSchema, {
    def: [bytes, last],
    metadata: { [digest]: {}, [digestOf(last)]: {} },
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
const resultOp = ({ def }: Definition): { op: Op; digest: string } | undefined => {
  const ops = new Map(def.map(bytes => [digestOf(bytes) as string, parsed(bytes)]))
  const [input] = [...ops.values()].at(-1)?.inputs ?? []
  if (!input) {
    if (def.length > 0) throw badRequest('invalid definition (LLB): its last operation has no input')
    return undefined
  }
  const op = ops.get(input.digest)
  if (!op) throw badRequest(`invalid definition (LLB): there is no operation ${input.digest}`)
  if (input.index !== 0n)
    throw notImplemented(`the result ${input.index} of an operation of a client’s graph (LLB)`)
  return { op, digest: input.digest }
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
  /** What a result is that is lent. Errors: `not-found`. */
  lent(id: string): { isEmpty: boolean; name: string }
}

/** Errors: `bad-request` for what is none, `not-implemented` with what it is, `not-found` for a result that is gone. */
export const readDefinition = (definition: Definition, { session, lent }: DefinitionHost): Graph => {
  const builder = new GraphBuilder()
  const found = resultOp(definition)
  if (!found) return builder.graph(undefined)
  const { op, digest } = found
  if (op.op.case !== 'source') return refuse(op)
  const { identifier, attrs } = op.op.value
  const platform = platformOf(op.platform)
  if (identifier.startsWith(resultScheme)) {
    const id = identifier.slice(resultScheme.length)
    const { isEmpty, name } = lent(id)
    if (isEmpty) return builder.graph(undefined)
    return builder.graph(
      builder.add({ operation: { kind: 'result', id }, inputs: [], platform, step: { name } }),
    )
  }
  const operation = sourceOperation(identifier, attrs, session)
  const name = definition.metadata[digest]?.description[nameKey] || identifier
  return keptResult(builder, builder.add({ operation, inputs: [], platform, step: { name } }))
}
