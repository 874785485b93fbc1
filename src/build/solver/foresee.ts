import type { Node, Plan } from './nodes.ts'
import { standsOn } from './seenBy.ts'
import type { KeyDigest } from './types.ts'

/** Knows early that a step will have to run, so that what it takes can be made side by side. */

/** What is asked of the build. */
export interface Asked {
  planOf(node: Node): Promise<Plan>
  chainOf(node: Node, index: number): Promise<KeyDigest>
  /** Whether a record was made of what counts by this. */
  isBase(chain: KeyDigest): boolean
  /** The same of an input. */
  isDoomed(node: Node): Promise<boolean>
}

/**
 * True as soon as it is known that no record can be found for a step, though its keys may not be known yet: it stands
 * on something that cannot be found, or that no record was made of. A record keeps those that it stands on: where the
 * one below is not there, neither is the one above.
 */
export const isDoomed = async (asked: Asked, node: Node): Promise<boolean> => {
  // Not within the call for what is above it: files can be long.
  await null
  const { vertex, inputs, seen } = node
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const doom = (isDoom: boolean): void => {
    if (isDoom) resolve(true)
  }
  for (const [number, input] of inputs.entries()) {
    if (seen[number]?.by !== 'key' || !standsOn(vertex.operation, number)) continue
    asked.isDoomed(input.node).then(doom, reject)
    asked.chainOf(input.node, input.index).then(chain => doom(!asked.isBase(chain)), reject)
  }
  asked.planOf(node).then(() => resolve(false), reject)
  return await promise
}
