import { isIP } from 'node:net'
import { badRequest } from '../../core/errors.ts'
import { hostGateway } from '../../engine/containers/extraHosts.ts'
import { normalizePlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import { truthOf } from '../../wire/truth.ts'
import { quote } from '../dockerfile/characters.ts'
import { readFields } from '../dockerfile/fields.ts'
import type { ExecOperation } from '../graph/types.ts'
import type { ResolveMode } from '../plan/types.ts'
import { isUpload } from '../session/upload.ts'
import { readLimits, type StepLimits } from './limits.ts'
import { isAddress } from './remoteContext.ts'

/** What clients ask of the Dockerfile frontend: `docker/dockerfile`'s attributes, by name. */

export interface CacheImport {
  type: string
  attributes: Record<string, string>
}

export interface FrontendAttributes {
  /** Of the Dockerfile within its folder. */
  fileName: string
  /** Name of a folder of the client, or the address of a repository or a download. */
  context: string
  subdirectory?: string
  /** Name of the client's folder with the Dockerfile. */
  dockerfileFolder: string
  /** The Dockerfile is the client's even where the context is not. */
  isLocalDockerfile: boolean
  /** None: that of the builder. */
  platforms: Platform[]
  multiPlatform: boolean
  arguments: Record<string, string>
  labels: Record<string, string>
  target?: string
  namedContexts: Record<string, string>
  noCache?: 'all' | string[]
  resolve: ResolveMode
  network: ExecOperation['network']
  extraHosts: ExecOperation['extraHosts']
  ulimits: ExecOperation['ulimits']
  limits: StepLimits
  shmSize?: number
  cgroupParent?: string
  hostname?: string
  cacheImports: CacheImport[]
  /** Something else than a build: `frontend.outline`, `frontend.lint`, … */
  subrequest?: string
  /** By kind: `sbom`, `provenance`. */
  attestations: Record<string, string>
  /** What is known of graphs that the client gives, by their names: JSON. */
  inputMetadata: Record<string, string>
  /** Sessions of folders that another one than the build's gives, by name. */
  sessions: Record<string, string>
}

type Given = Readonly<Record<string, string>>

/** In the order of their names: clients send them in any, and equal requests make equal images. */
const withPrefix = (given: Given, prefix: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )

const readPlatforms = (text = ''): Platform[] =>
  text
    .split(',')
    .filter(Boolean)
    .map(one => {
      const platform = parsePlatform(one)
      if (!platform)
        throw badRequest(`failed to parse target platform ${one}: it has the form os/architecture[/variant]`)
      return normalizePlatform(platform)
    })

const resolveModes: Record<string, ResolveMode> = {
  '': 'default',
  default: 'default',
  pull: 'pull',
  local: 'local',
}

const readResolve = (text = ''): ResolveMode => {
  const mode = resolveModes[text]
  if (!mode) throw badRequest(`invalid image-resolve-mode: ${text}`)
  return mode
}

const networks: Record<string, ExecOperation['network']> = {
  '': 'default',
  sandbox: 'default',
  none: 'none',
  host: 'host',
}

const readNetwork = (text = ''): ExecOperation['network'] => {
  const network = networks[text]
  if (!network) throw badRequest(`invalid netmode ${text}`)
  return network
}

const fields = (text: string | undefined): string[] => (text ? readFields(text) : [])

const readHosts = (text: string | undefined): ExecOperation['extraHosts'] =>
  fields(text).map(field => {
    const equals = field.indexOf('=')
    if (equals < 0)
      throw badRequest(`failed to parse additional hosts: invalid key-value pair ${field.toLowerCase()}`)
    const address = field.slice(equals + 1)
    if (address !== hostGateway && isIP(address) === 0)
      throw badRequest(`failed to parse additional hosts: failed to parse IP ${address}`)
    return { host: field.slice(0, equals).toLowerCase(), address }
  })

const readLimit = (field: string): ExecOperation['ulimits'][number] => {
  const match = /^([^=]+)=(-?\d+)(?::(-?\d+))?$/.exec(field)
  if (!match?.[1] || !match[2]) throw badRequest(`failed to parse ulimit: invalid ulimit argument: ${field}`)
  const soft = Number(match[2])
  const hard = Number(match[3] ?? match[2])
  if (hard >= 0 && soft > hard)
    throw badRequest(
      `failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    )
  return { name: match[1], soft, hard }
}

const readShmSize = (text = ''): number | undefined => {
  if (text === '') return undefined
  const size = Number(text)
  if (!Number.isSafeInteger(size) || size < 0)
    throw badRequest(`failed to parse shm size: ${quote(text)} is no number of bytes`)
  return size
}

const readNoCache = (text: string | undefined): 'all' | string[] | undefined =>
  text === undefined ? undefined : text === '' ? 'all' : text.split(',')

const readMulti = (given: Given, platforms: readonly Platform[]): boolean => {
  const text = given['build-arg:BUILDKIT_MULTI_PLATFORM'] || given['multi-platform'] || ''
  const several = platforms.length > 1
  if (text === '') return several
  const multi = truthOf(text)
  if (multi === undefined) throw badRequest(`invalid boolean value for multi-platform: ${text}`)
  if (!multi && several)
    throw badRequest('conflicting config: returning multiple target platforms is not allowed')
  return multi
}

const isText = (value: unknown): value is string => typeof value === 'string'

const importOf = (entry: unknown): CacheImport => {
  const { Type: type, Attrs: attributes = {} } = (entry ?? {}) as { Type?: unknown; Attrs?: unknown }
  if (!isText(type) || typeof attributes !== 'object' || !Object.values(attributes ?? {}).every(isText))
    throw badRequest('failed to unmarshal cache-imports: an entry has a Type and Attrs that are texts')
  return { type, attributes: { ...(attributes as Record<string, string>) } }
}

const readImports = (given: Given): CacheImport[] => {
  const older = (given['cache-from'] ?? '')
    .split(',')
    .filter(Boolean)
    .map(ref => ({ type: 'registry', attributes: { ref } }))
  const text = given['cache-imports']
  if (!text) return older
  let entries: unknown
  try {
    entries = JSON.parse(text)
  } catch {}
  if (!Array.isArray(entries)) throw badRequest(`failed to unmarshal cache-imports (${quote(text)})`)
  return [...entries.map(importOf), ...older]
}

/** The attribute that the client's folder is named by has the address where the context is none. */
const contextOf = (given: Given): string => {
  const name = given['contextkey'] ?? 'context'
  const address = given[name]
  return address !== undefined && (isAddress(address) || isUpload(address)) ? address : name
}

/** Errors: `bad-request` in BuildKit's words. */
export const readAttributes = (given: Given): FrontendAttributes => {
  const platforms = readPlatforms(given['platform'])
  const noCache = readNoCache(given['no-cache'])
  const shmSize = readShmSize(given['shm-size'])
  const hostname = given['build-arg:BUILDKIT_SANDBOX_HOSTNAME'] || given['hostname']
  return {
    fileName: given['filename'] || 'Dockerfile',
    context: contextOf(given),
    ...(given['contextsubdir'] ? { subdirectory: given['contextsubdir'] } : {}),
    dockerfileFolder: given['dockerfilekey'] ?? 'dockerfile',
    isLocalDockerfile: given['dockerfilekey'] !== undefined,
    platforms,
    multiPlatform: readMulti(given, platforms),
    arguments: withPrefix(given, 'build-arg:'),
    labels: withPrefix(given, 'label:'),
    ...(given['target'] ? { target: given['target'] } : {}),
    namedContexts: withPrefix(given, 'context:'),
    ...(noCache === undefined ? {} : { noCache }),
    resolve: readResolve(given['image-resolve-mode']),
    network: readNetwork(given['force-network-mode']),
    extraHosts: readHosts(given['add-hosts']),
    ulimits: fields(given['ulimit']).map(readLimit),
    limits: readLimits(given),
    ...(shmSize === undefined ? {} : { shmSize }),
    ...(given['cgroup-parent'] ? { cgroupParent: given['cgroup-parent'] } : {}),
    ...(hostname ? { hostname } : {}),
    cacheImports: readImports(given),
    ...(given['requestid'] ? { subrequest: given['requestid'] } : {}),
    attestations: withPrefix(given, 'attest:'),
    inputMetadata: withPrefix(given, 'input-metadata:'),
    sessions: withPrefix(given, 'local-sessionid:'),
  }
}
