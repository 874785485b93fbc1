import path from 'node:path'
import type { Platform } from '../../oci/platform.ts'
import { truthOf } from '../../wire/truth.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import type { Draft } from '../graph/draft.ts'
import type { FileAction, SourceOperation } from '../graph/types.ts'
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

/** `paths` are complete once all that is built is planned. */
export const mainContext = (
  { context, arguments: given }: Pick<BuildRequest, 'context' | 'arguments'>,
  paths: ReadonlySet<string>,
  platform: Platform,
): Draft => {
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
  const draft =
    context.kind === 'http'
      ? fetched(context.url, context.archive, platform)
      : gitContext(context.url, keepGit, platform)
  if (!draft) throw new DockerfileError(`invalid git context ${context.url}`)
  return context.subdirectory ? folderOf(draft, context.subdirectory, platform) : draft
}
