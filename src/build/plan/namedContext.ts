import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { normalizePlatform } from '../../oci/platform.ts'
import { canonical, familiar, parseReference, withDefaultTag } from '../../oci/reference.ts'
import { quote } from '../dockerfile/characters.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { readIgnoreFile } from '../dockerfile/ignore.ts'
import type { Draft } from '../graph/draft.ts'
import { followed, httpContext } from './context.ts'
import { gitContext } from './gitUrl.ts'
import { askImage } from './image.ts'
import { platformText } from './platform.ts'
import type { Planning } from './stage.ts'

export interface NamedContext {
  /** As it is shown, with its platform where it has one. */
  name: string
  /** The name that was asked for. */
  plainName: string
  /** `docker-image://alpine` */
  specifier: string
}

/** What is in a context. */
interface LoadedContext {
  fileSystem: Draft | undefined
  image?: ImageConfig
  /** Of a folder: what is to be noted as taken of it, by all that take from it. */
  usedPaths?: Set<string>
}

/** The context that stands for a stage or image, that of the platform first. Errors: what can be no name. */
export const findNamedContext = (
  { request: { namedContexts } }: Planning,
  name: string,
  platform: Platform,
): NamedContext | undefined => {
  const lower = name.toLowerCase()
  if (lower === 'scratch' || lower === 'context') return undefined
  const plainName = familiar(parseReference(name)).replace(/:latest$/, '')
  const withPlatform = `${plainName}::${platformText(normalizePlatform(platform))}`
  for (const key of [withPlatform, plainName]) {
    const specifier = Object.hasOwn(namedContexts, key) ? namedContexts[key] : undefined
    if (specifier !== undefined) return { name: key, plainName, specifier }
  }
  return undefined
}

interface Asked {
  planning: Planning
  context: NamedContext
  platform: Platform
}

const sourceDraft = (
  operation: Extract<Draft, { operation: unknown }>['operation'],
  { platform }: Asked,
  name: string,
): Draft => ({ operation, inputs: [], platform, step: { name } })

const loadImage = async (asked: Asked, text: string): Promise<LoadedContext> => {
  const { planning, context, platform } = asked
  if (text === 'scratch') return { fileSystem: undefined }
  const reference = withDefaultTag(parseReference(text))
  const { config, exact } = await askImage(planning, {
    reference,
    platform,
    step: `[context ${context.name}] load metadata for ${text}`,
  })
  const { resolve } = planning.request
  const operation = { kind: 'image', reference: exact, resolve } as const
  return { fileSystem: sourceDraft(operation, asked, `[context ${context.name}] ${exact}`), image: config }
}

const splitLayout = (text: string): [store: string, digest: string] => {
  const mark = text.indexOf('@')
  if (mark < 0) throw new DockerfileError(`oci-layout reference ${quote(text)} has no digest`)
  return [text.slice(0, mark).replace(/:[^/:]*$/, ''), text.slice(mark + 1)]
}

const loadLayout = async (asked: Asked, text: string): Promise<LoadedContext> => {
  const { planning, context, platform } = asked
  const [store, digest] = splitLayout(text)
  const { domain, path } = parseReference(context.plainName)
  const reference = canonical(parseReference(`${domain}/${path}@${digest}`))
  const { session } = planning.request
  const step = `[context ${context.name}] load metadata for ${reference}`
  const { config } = await planning.outside.layout({ session, store, reference, platform, step })
  const operation = { kind: 'oci-layout', session, store, reference } as const
  return {
    fileSystem: sourceDraft(operation, asked, `[context ${context.name}] OCI load from client`),
    image: config,
  }
}

const loadLocal = async (asked: Asked, local: string): Promise<LoadedContext> => {
  const { planning, context } = asked
  const paths = planning.folderPaths.get(context.name) ?? new Set<string>()
  planning.folderPaths.set(context.name, paths)
  const text = await planning.outside.ignoreFile({
    name: local,
    sharedKey: `context:${context.name}-.dockerignore`,
    step: `[context ${context.name}] load .dockerignore`,
  })
  const sharedKey = `context:${context.name}-${planning.request.sharedKeys?.[context.name] ?? ''}`
  const operation = () => {
    const follow = followed(paths)
    const exclude = readIgnoreFile(text)
    return {
      kind: 'local',
      name: local,
      exclude,
      sharedKey,
      differ: 'metadata',
      ...(follow ? { follow } : {}),
    } as const
  }
  const fileSystem = sourceDraft(operation, asked, `[context ${context.name}] load from client`)
  return { fileSystem, usedPaths: paths }
}

const loadInput = ({ planning, context }: Asked, input: string): LoadedContext => {
  const found = planning.request.inputs?.[input]
  if (!found) throw new DockerfileError(`invalid input ${input} for ${context.name}`)
  const edge = planning.builder.include(found.graph)
  return { fileSystem: edge ? { edge } : undefined, ...(found.image ? { image: found.image } : {}) }
}

const loadGit = (asked: Asked): LoadedContext => {
  const draft = gitContext(asked.context.specifier, false, asked.platform)
  if (!draft) throw new DockerfileError(`invalid git context ${asked.context.specifier}`)
  return { fileSystem: draft }
}

const loadHttp = (asked: Asked): LoadedContext => {
  const { context, platform } = asked
  const git = gitContext(context.specifier, false, platform)
  if (git) return { fileSystem: git }
  const name = `[context ${context.name}] ${context.specifier}`
  return { fileSystem: sourceDraft(httpContext(context.specifier), asked, name) }
}

/** What the context has. Errors: a kind that there is not, what its kind does not find. */
export const loadNamedContext = async (asked: Asked): Promise<LoadedContext> => {
  const { specifier, name } = asked.context
  const colon = specifier.indexOf(':')
  if (colon < 0) throw new DockerfileError(`invalid context specifier ${specifier} for ${name}`)
  const kind = specifier.startsWith('git@') ? 'git' : specifier.slice(0, colon)
  const rest = specifier.slice(colon + 1)
  const plain = rest.replace(/^\/\//, '')
  switch (kind) {
    case 'docker-image':
      return await loadImage(asked, plain)
    case 'oci-layout':
      return await loadLayout(asked, plain)
    case 'local':
      return await loadLocal(asked, rest)
    case 'input':
      return loadInput(asked, rest)
    case 'git':
      return loadGit(asked)
    case 'http':
    case 'https':
      return loadHttp(asked)
    default:
      throw new DockerfileError(`unsupported context source ${kind} for ${name}`)
  }
}
