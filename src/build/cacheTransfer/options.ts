import { badRequest, notImplemented } from '../../core/errors.ts'
import { isDigest } from '../../oci/digest.ts'
import { parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import { truthOf } from '../../wire/truth.ts'
import { quote } from '../dockerfile/characters.ts'
import { type Attributes, readImageOptions } from '../export/options.ts'
import type { CacheExport, CacheSource } from './types.ts'

/** What clients say of caches to read and to write, by the names of BuildKit's attributes. */

export interface AttributedCache {
  type: string
  attributes: Attributes
}

/** Services that only their own builders can use. */
const foreign = ['gha', 's3', 'azblob', 'gcs', 'oss']

const refuse = (what: 'importer' | 'exporter', type: string): never => {
  const flag = what === 'importer' ? '--cache-from' : '--cache-to'
  if (foreign.includes(type)) throw notImplemented(`a cache of the type ${type} (${flag} type=${type})`)
  throw badRequest(`unknown cache ${what}: ${quote(type)}`)
}

const flag = (attributes: Attributes, name: string): boolean | undefined => {
  const text = attributes[name]
  if (text === undefined) return undefined
  const value = truthOf(text)
  if (value === undefined)
    throw badRequest(`failed to parse ${name}: ${quote(text)} is neither true nor false`)
  return value
}

const readName = ({ ref = '' }: Attributes, flagName: string): Reference => {
  if (ref === '') throw badRequest(`missing ref: ${flagName} type=registry needs ref=NAME`)
  return withDefaultTag(parseReference(ref))
}

const readPlace = ({ type, attributes }: AttributedCache): CacheExport['to'] => {
  if (type === 'inline') return { kind: 'inline' }
  if (type === 'registry') return { kind: 'registry', name: readName(attributes, '--cache-to') }
  if (type !== 'local') return refuse('exporter', type)
  const { dest = '' } = attributes
  if (dest === '') throw badRequest('local cache exporter requires dest')
  return { kind: 'local', folder: dest }
}

const readMode = ({ mode = 'min' }: Attributes): CacheExport['mode'] => {
  if (mode !== 'min' && mode !== 'max') throw badRequest(`invalid cache mode ${quote(mode)}: use min or max`)
  return mode
}

/** Errors: `bad-request`, `not-implemented`. */
export const readCacheExport = (cache: AttributedCache): CacheExport => {
  const { attributes } = cache
  const to = readPlace(cache)
  const { name: _, ...layers } = attributes
  const options = readImageOptions(layers)
  const isImageManifest = flag(attributes, 'image-manifest') ?? options.isOci
  if (isImageManifest && !options.isOci)
    throw badRequest('cache option "image-manifest=true" conflicts with "oci-mediatypes=false"')
  return {
    ...{ to, options, isImageManifest },
    // An image has no other layers than its own.
    mode: to.kind === 'inline' ? 'min' : readMode(attributes),
    ignoresErrors: flag(attributes, 'ignore-error') ?? false,
  }
}

/** The client has found the digest by the tag. */
const readFolder = ({ src = '', digest = '' }: Attributes): CacheSource => {
  if (src === '') throw badRequest('local cache importer requires src')
  if (!isDigest(digest)) throw badRequest('local cache importer requires explicit digest')
  return { kind: 'local', folder: src, digest, told: `local:${src}` }
}

const readCacheSource = ({ type, attributes }: AttributedCache): CacheSource => {
  if (type === 'local') return readFolder(attributes)
  if (type !== 'registry') return refuse('importer', type)
  return { kind: 'registry', name: readName(attributes, '--cache-from'), told: attributes['ref'] ?? '' }
}

const sourceKey = (source: CacheSource): string =>
  source.kind === 'local' ? `${source.told} ${source.digest}` : source.told

/** Each once: clients tell of them in several places. Errors: `bad-request`, `not-implemented`. */
export const readCacheSources = (caches: readonly AttributedCache[]): CacheSource[] => [
  ...new Map(caches.map(readCacheSource).map(source => [sourceKey(source), source])).values(),
]
