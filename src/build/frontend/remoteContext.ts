import { detectCompression } from '../../archive/compression.ts'
import { BLOCK, isZeroBlock, parseHeader } from '../../archive/header.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import { GraphBuilder } from '../graph/builder.ts'
import { addDraft } from '../graph/draft.ts'
import type { Graph } from '../graph/types.ts'
import { mainContext } from '../plan/context.ts'
import { parseGitUrl } from '../plan/gitUrl.ts'
import type { BuildRequest, ContextSource } from '../plan/types.ts'
import { isUpload } from '../session/upload.ts'
import type { FrontendAttributes } from './attributes.ts'

/** Contexts that are a repository or a download: what they are, and the graph that their Dockerfile is read from. */

/** Graphs by the names that the client has for them. */
export type Inputs = NonNullable<BuildRequest['inputs']>

type RemoteSource = Exclude<ContextSource, { kind: 'local' }>

export interface RemoteContext {
  /** Absent where the context is the client's own. */
  source?: RemoteSource
  /** What the Dockerfile is in, whatever folder of it is the context. Absent where that is the client's own. */
  graph?: Graph
}

/** Reads small files of what a graph gives, those that are there; `beginning`: of each so many bytes. */
export type ReadResult = (
  graph: Graph,
  paths: readonly string[],
  options?: { beginning?: number },
) => Promise<Map<string, Buffer>>

/** What a download is called in the folder that it comes to. */
export const downloadName = 'context'

const probed = 1024

/** What a client gives by an address of its own is a folder of the client's. */
const isDownload = (text: string): boolean => /^https?:\/\//.test(text) && !isUpload(text)

/** Whether a context is an address: a repository, a download. Errors: what `parseGitUrl` refuses. */
export const isAddress = (text: string): boolean =>
  !isUpload(text) && (isDownload(text) || parseGitUrl(text) !== undefined)

const packings = ['bzip2', 'gzip', 'xz']

/** By its beginning, as BuildKit has it. */
export const looksLikeArchive = (beginning: Buffer): boolean => {
  if (packings.includes(detectCompression(beginning))) return true
  const block = beginning.subarray(0, BLOCK)
  if (block.length < BLOCK || isZeroBlock(block)) return false
  try {
    parseHeader(block)
    return true
  } catch {
    return false
  }
}

const graphOf = (source: RemoteSource, attributes: FrontendAttributes): Graph => {
  const builder = new GraphBuilder()
  const platform = attributes.platforms[0] ?? hostPlatform
  const { arguments: given } = attributes
  const place = { builder, paths: new Set<string>(), platform }
  return builder.graph(addDraft(builder, mainContext({ context: source, arguments: given }, place)))
}

/** What the client made of its context before: a bake file from afar builds of where it lies. */
export const inputContext = (
  { dockerfileFolder, isLocalDockerfile, subdirectory }: FrontendAttributes,
  { context, [dockerfileFolder]: dockerfile }: Inputs,
): RemoteContext => ({
  ...(context
    ? { source: { kind: 'graph', graph: context.graph, ...(subdirectory ? { subdirectory } : {}) } }
    : {}),
  ...(dockerfile && !isLocalDockerfile ? { graph: dockerfile.graph } : {}),
})

/** Undefined for a folder of the client. Errors: those of fetching. */
export const remoteContext = async (
  attributes: FrontendAttributes,
  read: ReadResult,
): Promise<RemoteContext | undefined> => {
  const { context: url, subdirectory } = attributes
  const within = subdirectory ? { subdirectory } : {}
  if (parseGitUrl(url)) {
    const whole = { kind: 'git', url } as const
    return { source: { ...whole, ...within }, graph: graphOf(whole, attributes) }
  }
  if (!isDownload(url)) return undefined
  const file = { kind: 'http', url, archive: false } as const
  const graph = graphOf(file, attributes)
  const beginning = (await read(graph, [downloadName], { beginning: probed })).get(downloadName)
  if (!beginning || !looksLikeArchive(beginning)) return { source: { ...file, ...within }, graph }
  const whole = { ...file, archive: true } as const
  return { source: { ...whole, ...within }, graph: graphOf(whole, attributes) }
}
