import { keptFiles } from './files.ts'
import { contentKey, fastKey, joinedDigest } from './keys.ts'
import type { Node, Plan } from './nodes.ts'
import type { Outcome } from './outcome.ts'
import { partsOf } from './parts.ts'
import { roleOf } from './seenBy.ts'
import type { ContentDigest, FileDigest, InputParts, KeyDigest, Selection } from './types.ts'

/** Finds out by which keys a step counts, and whether its result is there: doing as little for it as it takes. */

/** What a plan asks of its build. */
export interface Asked {
  chainOf(node: Node, index: number): Promise<KeyDigest>
  contentOf(input: Node['inputs'][number], selection: Selection): Promise<ContentDigest>
  /** What is there under a key; undefined where the step is to be made anew. */
  find(node: Node, key: KeyDigest): Promise<Outcome | undefined>
  /** What results that were there once counted by, by index; undefined where one is not known, or made anew. */
  pastChains(node: Node, key: KeyDigest): KeyDigest[] | undefined
  /** What is found under one key is so under another. */
  link(outcome: Outcome, key: KeyDigest): Promise<void>
}

/** A folder of a client has no key by itself: to find one is to read all of it. */
export const hasOnlyContent = ({ node, by }: { node: Node; by: 'key' | 'content' }): boolean =>
  by === 'content' && node.vertex.operation.kind === 'local'

interface Sight {
  chain: KeyDigest | undefined
  content?: { digest: KeyDigest; files?: FileDigest[] }
}

const contentSeen = async (asked: Asked, node: Node, index: number): Promise<Sight['content']> => {
  const [input, seen] = [node.inputs[index], node.seen[index]]
  if (!input || seen?.by !== 'content') return undefined
  const parts = await Promise.all(seen.selections.map(selection => asked.contentOf(input, selection)))
  const isTold = parts.every(({ files }) => files)
  return {
    digest: joinedDigest(parts.map(({ digest }) => digest)),
    ...(isTold ? { files: keptFiles(parts.flatMap(({ files = [] }) => files)) } : {}),
  }
}

/** What a step takes, as it counted in its keys. */
export const inputParts = ({ vertex, inputs }: Node, sights: readonly Sight[]): InputParts[] =>
  inputs.map(({ node }, index) => {
    const { chain, content } = sights[index] ?? { chain: undefined }
    return {
      role: roleOf(vertex.operation, index),
      from: node.vertex.step.name,
      ...(chain === undefined ? {} : { key: chain }),
      ...(content ? { content: content.digest } : {}),
      ...(content?.files ? { files: content.files } : {}),
    }
  })

const keyByContent = ({ vertex, seen }: Node, sights: readonly Sight[]): KeyDigest =>
  contentKey(
    vertex,
    seen,
    sights.flatMap<{ content: KeyDigest } | { chain: KeyDigest }>(({ chain, content }) =>
      content ? [{ content: content.digest }] : chain ? [{ chain }] : [],
    ),
  )

/** By what is seen, where being found by the keys of the inputs is out. */
const planByContent = async (
  asked: Asked,
  node: Node,
  { chains, fast }: { chains: readonly (KeyDigest | undefined)[]; fast: KeyDigest | undefined },
): Promise<Plan> => {
  const sights: Sight[] = await Promise.all(
    chains.map(async (chain, index) => {
      const content = await contentSeen(asked, node, index)
      return { chain, ...(content ? { content } : {}) }
    }),
  )
  const made = partsOf(node.vertex, inputParts(node, sights))
  if (fast && node.seen.every(({ by }) => by === 'key')) return { keys: [fast], made }
  const key = keyByContent(node, sights)
  const keys = [key, ...(fast ? [fast] : [])]
  const found = await asked.find(node, key)
  if (!found) return { keys, made }
  if (fast) await asked.link(found, fast)
  return { keys, found }
}

/** Of a step that takes something, or needs nothing. */
export const planStep = async (asked: Asked, node: Node): Promise<Plan> => {
  const { vertex, inputs, seen } = node
  const chains = await Promise.all(
    inputs.map(async (input, index) =>
      hasOnlyContent({ node: input.node, by: seen[index]?.by ?? 'key' })
        ? undefined
        : await asked.chainOf(input.node, input.index),
    ),
  )
  const known = chains.filter(chain => chain !== undefined)
  const fast = known.length === chains.length ? fastKey(vertex, known) : undefined
  const found = fast && (await asked.find(node, fast))
  if (found) return { keys: [fast], found }
  const rest = (): Promise<Plan> => planByContent(asked, node, { chains, fast })
  // What is above it may be there still, and needs no more of it.
  const past = fast && asked.pastChains(node, fast)
  return past ? { keys: [fast], past, rest } : await rest()
}
