import path from 'node:path'
import type { Platform } from '../../oci/platform.ts'
import { truthOf } from '../../wire/truth.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import { addDraft, type Draft } from '../graph/draft.ts'
import type { Edge, FileAction, Graph, SourceOperation, Step } from '../graph/types.ts'
import { gitContext } from './gitUrl.ts'
import { fromRoot } from './paths.ts'
import { internalStep } from './step.ts'
import type { BuildRequest } from './types.ts'

/** What a client is asked for: undefined where it is all. A path stands for what its links lead to, too. */
export const followed = (paths: ReadonlySet<string>): string[] | undefined => {
  if (paths.size === 0 || paths.has('/')) return undefined
  return [...paths].map(file => path.posix.join('.', file)).sort()
}

/** The defaults of a copy; who makes one says what is its own. */
export const copyAction = (
  own: Pick<Extract<FileAction, { kind: 'copy' }>, 'from' | 'source' | 'destination'> &
    Partial<Extract<FileAction, { kind: 'copy' }>>,
): FileAction => ({
  kind: 'copy',
  followLinks: false,
  contentsOnly: false,
  unpack: false,
  createDestination: false,
  wildcards: false,
  allowEmpty: false,
  include: [],
  exclude: [],
  keepParents: false,
  replace: false,
  ...own,
})

export const wholeCopyAction = copyAction({
  ...{ from: 0, source: '/', destination: '/' },
  ...{ contentsOnly: true, createDestination: true, allowEmpty: true },
})

const folderOf = (draft: Draft, folder: string, platform: Platform): Draft => ({
  operation: {
    kind: 'file',
    base: undefined,
    actions: [copyAction({ from: 0, source: fromRoot(folder), destination: '/', contentsOnly: true })],
  },
  inputs: [draft],
  platform,
  step: internalStep(`take ${folder} of the build context`),
})

const fetched = (url: string, archive: boolean, platform: Platform): Draft => {
  const file: Draft = {
    operation: httpContext(url),
    inputs: [],
    platform,
    step: internalStep('load remote build context'),
  }
  if (!archive) return file
  return {
    operation: {
      kind: 'file',
      base: undefined,
      actions: [copyAction({ from: 0, source: '/context', destination: '/', unpack: true })],
    },
    inputs: [file],
    platform,
    step: internalStep('unpack remote build context'),
  }
}

export const httpContext = (url: string): Extract<SourceOperation, { kind: 'http' }> => ({
  kind: 'http',
  url,
  filename: 'context',
})

/** All of a file system, as it is. */
const wholeCopy = (input: Draft | undefined, platform: Platform, step: Step): Draft => ({
  operation: { kind: 'file', base: undefined, actions: input ? [wholeCopyAction] : [] },
  inputs: input ? [input] : [],
  platform,
  step,
})

/** A folder of the client is the client's, and goes with the build: as a result it is copied. */
export const keptResult = (builder: GraphBuilder, edge: Edge | undefined): Graph => {
  const graph = builder.graph(edge)
  const last = edge && graph.vertices.get(edge.vertex)
  if (!edge || last?.operation.kind !== 'local') return graph
  const copy = wholeCopy({ edge }, last.platform, internalStep(`copy ${last.operation.name} of the client`))
  return builder.graph(addDraft(builder, copy))
}

interface ContextPlace {
  builder: GraphBuilder
  /** What is taken of it: complete once all that is built is planned. */
  paths: ReadonlySet<string>
  platform: Platform
}

/** Of a graph that is empty, an empty folder. */
const includedContext = (graph: Graph, { builder, platform }: ContextPlace): Draft => {
  const edge = builder.include(graph)
  return edge ? { edge } : wholeCopy(undefined, platform, internalStep('make an empty build context'))
}

export const mainContext = (
  { context, arguments: given }: Pick<BuildRequest, 'context' | 'arguments'>,
  place: ContextPlace,
): Draft => {
  const { paths, platform } = place
  if (context.kind === 'local')
    return {
      operation: () => {
        const follow = followed(paths)
        return {
          kind: 'local',
          name: context.name,
          exclude: context.exclude,
          sharedKey: context.sharedKey,
          differ: 'metadata',
          ...(follow ? { follow } : {}),
        }
      },
      inputs: [],
      platform,
      step: internalStep('load build context'),
    }
  const keepGit = truthOf(given['BUILDKIT_CONTEXT_KEEP_GIT_DIR'] ?? '') ?? false
  const whole = (): Draft => {
    if (context.kind === 'graph') return includedContext(context.graph, place)
    if (context.kind === 'http') return fetched(context.url, context.archive, platform)
    const draft = gitContext(context.url, keepGit, platform)
    if (!draft) throw new DockerfileError(`invalid git context ${context.url}`)
    return draft
  }
  return context.subdirectory ? folderOf(whole(), context.subdirectory, platform) : whole()
}
