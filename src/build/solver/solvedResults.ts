import { resultKey } from './keys.ts'
import type { Node, Plan } from './nodes.ts'
import type { KeyDigest, ResultCache, SolvedResult } from './types.ts'

/** What a build that has ended well knows of its vertices, for a cache that is exported. */

interface Known {
  plan: Plan
  chain(index: number): Promise<KeyDigest | undefined>
  record(index: number): string | undefined
}

const knownOf = async ({ plan, whole, outcome, contentChains }: Node): Promise<Known | undefined> => {
  const last = await (whole ?? plan)
  if (!last) return undefined
  const result = (await outcome) ?? last.found
  const [first] = last.keys
  return {
    plan: last,
    chain: async index =>
      result?.chains[index] ??
      last.past?.[index] ??
      (first && resultKey(first, index)) ??
      (await contentChains.get(index)),
    record: index => result?.records[index],
  }
}

/** An image is found by its own name, and a folder of a client by its content alone. */
const isSource = ({ vertex: { operation } }: Node): boolean =>
  operation.kind === 'image' || operation.kind === 'oci-layout' || operation.kind === 'local'

const basesOf = async ({ inputs }: Node, known: ReadonlyMap<Node, Known>): Promise<KeyDigest[]> => {
  const chains = inputs.map(({ node, index }) => known.get(node)?.chain(index))
  return (await Promise.all(chains)).filter(chain => chain !== undefined)
}

/** Each after those that it takes. */
export const solvedResults = async (nodes: Iterable<Node>, cache: ResultCache): Promise<SolvedResult[]> => {
  const known = new Map<Node, Known>()
  const results: SolvedResult[] = []
  for (const node of nodes) {
    const own = await knownOf(node)
    if (!own) continue
    known.set(node, own)
    if (isSource(node) || own.plan.keys.length === 0) continue
    const bases = await basesOf(node, known)
    for (const index of node.wanted) {
      const [chain, id] = [await own.chain(index), own.record(index)]
      const record = id === undefined ? undefined : cache.get(id)
      if (chain === undefined) continue
      const keys = new Set([...(record?.keys ?? []), ...own.plan.keys.map(key => resultKey(key, index))])
      results.push({ keys: [...keys], chain, bases, ...(record ? { record } : {}) })
    }
  }
  return results
}
