import path from 'node:path'
import { BerthError, notImplemented } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { readIgnoreFile } from '../dockerfile/ignore.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import type { Dockerfile } from '../dockerfile/types.ts'
import { planBuild } from '../plan/planBuild.ts'
import type { BuildRequest, Outside, Plan } from '../plan/types.ts'
import { isUpload } from '../session/upload.ts'
import type { FrontendAttributes } from './attributes.ts'
import { syntaxNotice } from './syntax.ts'

/** From what a client asks for to plans: reads the Dockerfile and what is left out of the context. */

export interface FrontendHost {
  /** Texts of small files of a client's folder, by path, those that are there. */
  readFiles(asked: { folder: string; paths: string[]; step: string }): Promise<Map<string, string>>
  /** What planning asks for, for one platform. */
  outside: Outside
  /** Of the client. */
  session: string
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

const readDockerfile = async (
  { fileName, dockerfileFolder, context, isLocalDockerfile }: FrontendAttributes,
  host: FrontendHost,
): Promise<{ text: string; ignored: string | undefined }> => {
  const lower = path.posix.join(path.posix.dirname(fileName), 'dockerfile')
  const isDefault = path.posix.basename(fileName) === 'Dockerfile'
  const ignoreName = `${fileName}.dockerignore`
  const files = await host.readFiles({
    folder: isUpload(context) && !isLocalDockerfile ? context : dockerfileFolder,
    paths: [fileName, ignoreName, ...(isDefault ? [lower] : [])],
    step: `[internal] load build definition from ${fileName}`,
  })
  const text = files.get(fileName) ?? (isDefault ? files.get(lower) : undefined)
  if (text === undefined)
    throw new BerthError(
      'not-found',
      404,
      `failed to read dockerfile: open ${fileName}: no such file or directory`,
    )
  return { text, ignored: files.get(ignoreName) }
}

const readIgnored = async (
  { context }: FrontendAttributes,
  host: FrontendHost,
  own: string | undefined,
): Promise<string[]> => {
  const name = '.dockerignore'
  const step = `[internal] load ${name}`
  const text = own ?? (await host.readFiles({ folder: context, paths: [name], step })).get(name)
  return text === undefined ? [] : readIgnoreFile(text)
}

const isRemote = (context: string): boolean =>
  !isUpload(context) && /^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(context)

const requestOf = (
  attributes: FrontendAttributes,
  parts: { dockerfile: Dockerfile; exclude: string[]; session: string; platform: Platform | undefined },
): BuildRequest => {
  const { dockerfile, exclude, session, platform } = parts
  const { context } = attributes
  return {
    dockerfile,
    fileName: attributes.fileName,
    arguments: attributes.arguments,
    labels: attributes.labels,
    ...(attributes.target ? { target: attributes.target } : {}),
    ...(platform ? { targetPlatform: platform } : {}),
    buildPlatform: hostPlatform,
    multiPlatform: attributes.platforms.length > 1,
    context: { kind: 'local', name: context, sharedKey: context, exclude },
    namedContexts: attributes.namedContexts,
    session,
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

/** Errors: `FrontendError`, `not-found` without a Dockerfile, those of the client. */
export const openDockerfile = async (attributes: FrontendAttributes, host: FrontendHost): Promise<Opened> => {
  if (isRemote(attributes.context))
    throw notImplemented('a build whose context is a repository or a download')
  const { text, ignored } = await readDockerfile(attributes, host)
  const source = { fileName: attributes.fileName, text }
  const dockerfile = await within(source, () => parseDockerfile(text))
  const syntax = attributes.arguments['BUILDKIT_SYNTAX'] ?? dockerfile.directives.syntax?.value
  if (syntax) host.notice(syntaxNotice(syntax))
  const exclude = await readIgnored(attributes, host, ignored)
  const { session } = host
  return {
    source,
    dockerfile,
    request: platform => requestOf(attributes, { dockerfile, exclude, session, platform }),
  }
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
