import path from 'node:path'
import { BerthError } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { readIgnoreFile } from '../dockerfile/ignore.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import type { Dockerfile } from '../dockerfile/types.ts'
import { planBuild } from '../plan/planBuild.ts'
import type { BuildRequest, ContextSource, Outside, Plan } from '../plan/types.ts'
import { isUpload } from '../session/upload.ts'
import type { FrontendAttributes } from './attributes.ts'
import {
  downloadName,
  type Inputs,
  inputContext,
  type ReadResult,
  type RemoteContext,
  remoteContext,
} from './remoteContext.ts'
import { syntaxNotice } from './syntax.ts'

/** From what a client asks for to plans: reads the Dockerfile and what is left out of the context. */

export interface FrontendHost {
  /** Texts of small files of a client's folder, by path, those that are there. */
  readFiles(asked: { folder: string; paths: string[]; step: string }): Promise<Map<string, string>>
  /** The same of what a graph gives: of contexts that are fetched. */
  readResult: ReadResult
  /** What planning asks for, for one platform. */
  outside: Outside
  /** Of the client. */
  session: string
  /** What the client gives of what was built before. */
  inputs: Inputs
  /** Told to the user. */
  notice(text: string): void
}

/** A Dockerfile as errors and warnings show it. */
export interface DockerfileSource {
  fileName: string
  text: string
}

export interface PlannedBuild {
  source: DockerfileSource
  dockerfile: Dockerfile
  /** One for each platform, in the order in which they were asked for. */
  plans: { platform: string; plan: Plan }[]
}

type ReadTexts = (paths: string[]) => Promise<Map<string, string>>

const readDockerfile = async (
  fileName: string,
  read: ReadTexts,
): Promise<{ text: string; ignored: string | undefined }> => {
  const lower = path.posix.join(path.posix.dirname(fileName), 'dockerfile')
  const isDefault = path.posix.basename(fileName) === 'Dockerfile'
  const ignoreName = `${fileName}.dockerignore`
  const files = await read([fileName, ignoreName, ...(isDefault ? [lower] : [])])
  const text = files.get(fileName) ?? (isDefault ? files.get(lower) : undefined)
  if (text === undefined)
    throw new BerthError(
      'not-found',
      404,
      `failed to read dockerfile: open ${fileName}: no such file or directory`,
    )
  return { text, ignored: files.get(ignoreName) }
}

/** Where the Dockerfile is: in what was fetched, unless the client has one of its own. */
const findDockerfile = (
  { fileName, context, dockerfileFolder, isLocalDockerfile }: FrontendAttributes,
  host: FrontendHost,
  { source, graph }: RemoteContext,
): { fileName: string; read: ReadTexts } => {
  // A download that is no archive is the Dockerfile itself.
  const name = source?.kind === 'http' && !source.archive ? downloadName : fileName
  if (!graph || isLocalDockerfile) {
    const folder = isUpload(context) && !isLocalDockerfile ? context : dockerfileFolder
    const step = `[internal] load build definition from ${name}`
    return { fileName: name, read: async paths => await host.readFiles({ folder, paths, step }) }
  }
  const read: ReadTexts = async paths => {
    const files = await host.readResult(graph, paths)
    return new Map([...files].map(([file, bytes]) => [file, bytes.toString('utf8')]))
  }
  return { fileName: name, read }
}

/** Nothing is left out of what is fetched, as with BuildKit. */
const localContext = async (
  { context }: FrontendAttributes,
  host: FrontendHost,
  own: string | undefined,
): Promise<ContextSource> => {
  const name = '.dockerignore'
  const step = `[internal] load ${name}`
  const text = own ?? (await host.readFiles({ folder: context, paths: [name], step })).get(name)
  const exclude = text === undefined ? [] : readIgnoreFile(text)
  return { kind: 'local', name: context, sharedKey: context, exclude }
}

const requestOf = (
  attributes: FrontendAttributes,
  parts: Pick<BuildRequest, 'dockerfile' | 'fileName' | 'context' | 'session' | 'inputs'>,
  platform: Platform | undefined,
): BuildRequest => {
  return {
    ...parts,
    arguments: attributes.arguments,
    labels: attributes.labels,
    ...(attributes.target ? { target: attributes.target } : {}),
    ...(platform ? { targetPlatform: platform } : {}),
    buildPlatform: hostPlatform,
    multiPlatform: attributes.multiPlatform,
    namedContexts: attributes.namedContexts,
    ...(attributes.noCache ? { noCache: attributes.noCache } : {}),
    resolve: attributes.resolve,
    network: attributes.network,
    extraHosts: attributes.extraHosts,
    ulimits: attributes.ulimits,
    devices: [],
    ...(attributes.shmSize === undefined ? {} : { shmSize: attributes.shmSize }),
    ...(attributes.cgroupParent ? { cgroupParent: attributes.cgroupParent } : {}),
    ...(attributes.hostname ? { hostname: attributes.hostname } : {}),
  }
}

/** A Dockerfile that was read, with what is left out of its context. */
export interface Opened {
  source: DockerfileSource
  dockerfile: Dockerfile
  request(platform: Platform | undefined): BuildRequest
}

/** With the source, so that errors can be shown in it. */
export class FrontendError extends BerthError {
  readonly source: DockerfileSource
  readonly ranges: DockerfileError['ranges']

  constructor(source: DockerfileSource, error: DockerfileError) {
    super(error.code, error.status, error.message, { cause: error })
    this.source = source
    this.ranges = error.ranges
  }
}

/** Errors in a Dockerfile get its text. */
export const within = async <T>(source: DockerfileSource, work: () => T | Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    throw error instanceof DockerfileError ? new FrontendError(source, error) : error
  }
}

/** Errors: `FrontendError`, `not-found` without a Dockerfile, those of the client and of fetching. */
export const openDockerfile = async (attributes: FrontendAttributes, host: FrontendHost): Promise<Opened> => {
  const remote = (await remoteContext(attributes, host.readResult)) ?? inputContext(attributes, host.inputs)
  const { fileName, read } = findDockerfile(attributes, host, remote)
  const { text, ignored } = await readDockerfile(fileName, read)
  const source = { fileName, text }
  const dockerfile = await within(source, () => parseDockerfile(text))
  const syntax = attributes.arguments['BUILDKIT_SYNTAX'] ?? dockerfile.directives.syntax?.value
  if (syntax) host.notice(syntaxNotice(syntax))
  const context = remote.source ?? (await localContext(attributes, host, ignored))
  const { session, inputs } = host
  const parts = { dockerfile, fileName, context, session, inputs }
  return { source, dockerfile, request: platform => requestOf(attributes, parts, platform) }
}

/** Plans for all platforms that are wanted, one after another: they share what they ask for. */
export const planPlatforms = async (
  attributes: FrontendAttributes,
  host: FrontendHost,
): Promise<PlannedBuild> => {
  const opened = await openDockerfile(attributes, host)
  const platforms = attributes.platforms.length > 0 ? attributes.platforms : [undefined]
  const plans: PlannedBuild['plans'] = []
  for (const platform of platforms) {
    const plan = await within(opened.source, () => planBuild(opened.request(platform), host.outside))
    plans.push({ platform: formatPlatform(platform ?? plan.platform), plan })
  }
  return { source: opened.source, dockerfile: opened.dockerfile, plans }
}
