import { digestOf } from '../../oci/digest.ts'
import type { Edge, Operation, Vertex, VertexDigest } from './types.ts'

/** One text for equal values: keys in their order, what is undefined left out. */
export const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`)
  return `{${fields.join(',')}}`
}

/** What of an operation makes its result: proxies do not. */
const essence = (operation: Operation): Operation =>
  operation.kind === 'exec' ? { ...operation, proxy: {} } : operation

/** Files are the same wherever they are copied; what runs or is chosen by its platform is not. */
const hasPlatform = ({ kind }: Operation): boolean =>
  kind === 'exec' || kind === 'image' || kind === 'oci-layout'

const edgeText = ({ vertex, index }: Edge): string => `${vertex}/${index}`

/** The digest of a vertex. How it is shown, and whether a cache may answer for it, is no part of it. */
export const digestOfVertex = ({
  operation,
  inputs,
  platform,
}: Pick<Vertex, 'operation' | 'inputs' | 'platform'>): VertexDigest =>
  digestOf(
    canonical({
      inputs: inputs.map(edgeText),
      operation: essence(operation),
      platform: hasPlatform(operation) ? platform : undefined,
    }),
  )
