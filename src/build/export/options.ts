import { badRequest, notImplemented } from '../../core/errors.ts'
import { canonical, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import { truthOf } from '../../wire/truth.ts'
import { quote } from '../dockerfile/characters.ts'

/** What exporters are told, by the names of BuildKit's attributes. */

export type Attributes = Readonly<Record<string, string>>

export type LayerCompression = 'none' | 'gzip' | 'zstd'

const flag = (attributes: Attributes, name: string): boolean | undefined => {
  const text = attributes[name]
  if (text === undefined) return undefined
  const value = text === '' ? true : truthOf(text)
  if (value === undefined) throw badRequest(`non-bool value specified for ${name}: ${quote(text)}`)
  return value
}

const readEpoch = ({ 'source-date-epoch': text = '' }: Attributes): number | undefined => {
  if (text === '') return undefined
  const seconds = Number(text)
  if (!Number.isSafeInteger(seconds)) throw badRequest(`invalid SOURCE_DATE_EPOCH: ${text}`)
  return seconds
}

export interface FilesOptions {
  epoch?: number
  /** Undefined: as many platforms as there are say. */
  isSplit: boolean | undefined
  /** What else the client's folder holds goes. */
  isWhole: boolean
}

/** Of `local` and `tar`. */
export const readFilesOptions = (attributes: Attributes): FilesOptions => {
  const { mode = '' } = attributes
  if (!['', 'copy', 'delete'].includes(mode)) throw badRequest(`invalid local exporter mode ${quote(mode)}`)
  const epoch = readEpoch(attributes)
  return {
    ...(epoch === undefined ? {} : { epoch }),
    isSplit: flag(attributes, 'platform-split'),
    isWhole: mode === 'delete',
  }
}

const compressions: Record<string, LayerCompression> = { uncompressed: 'none', gzip: 'gzip', zstd: 'zstd' }

const readCompression = (attributes: Attributes): LayerCompression => {
  const { compression = 'gzip' } = attributes
  const kind = Object.hasOwn(compressions, compression) ? compressions[compression] : undefined
  if (kind) return kind
  if (compression === 'estargz') throw notImplemented('the compression estargz of layers')
  throw badRequest(`unsupported compression type ${compression}`)
}

/** The highest of each. */
const levels: Record<LayerCompression, number> = { none: 0, gzip: 9, zstd: 22 }

const readLevel = (attributes: Attributes, kind: LayerCompression): number | undefined => {
  const { 'compression-level': text = '' } = attributes
  if (text === '' || kind === 'none') return undefined
  const level = Number(text)
  if (!Number.isInteger(level) || level < 0 || level > levels[kind])
    throw badRequest(
      `invalid compression-level ${quote(text)} of ${kind}: use a number from 0 to ${levels[kind]}`,
    )
  return level
}

/** Where an annotation goes; `platform` of those of one platform's. */
export interface Annotation {
  place: 'manifest' | 'manifest-descriptor' | 'index' | 'index-descriptor'
  platform: string
  key: string
  value: string
}

const places = ['manifest', 'manifest-descriptor', 'index', 'index-descriptor'] as const

const readAnnotation = ([name, value]: [string, string]): Annotation[] => {
  if (!name.startsWith('annotation')) return []
  const match = /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/.exec(name)
  if (!match) return []
  const [, given = 'manifest', platform = '', key = ''] = match
  const place = places.find(known => known === given)
  if (!place) throw badRequest(`unrecognized annotation type ${given}`)
  return [{ place, platform, key, value }]
}

export interface ImageOptions {
  /** Each with a tag; where it is known by its digest alone, without. */
  names: Reference[]
  /** No tag stands for it, here and at registries: several machines push their platforms so, for one index. */
  isByDigest: boolean
  isPushed: boolean
  compression: LayerCompression
  /** How hard: of gzip 0 to 9, of zstd to 22. */
  level?: number
  /** Layers that are compressed otherwise are compressed anew. */
  isForced: boolean
  /** Media types of OCI rather than Docker's. */
  isOci: boolean
  annotations: Annotation[]
  epoch?: number
  /** Times of files in new layers are no later than the epoch. */
  rewritesTimes: boolean
  /** One archive rather than a folder. */
  isArchive: boolean
}

/** `name=a,b`, each with a tag. */
export const readNames = ({ name = '' }: Attributes): Reference[] =>
  name
    .split(',')
    .filter(Boolean)
    .map(text => withDefaultTag(parseReference(text)))

/** Repositories for what is known by its digest alone. Errors: `bad-request`. */
const readRepositories = ({ name = '' }: Attributes): Reference[] =>
  name
    .split(',')
    .filter(Boolean)
    .map(text => {
      const reference = parseReference(text)
      if (reference.tag || reference.digest) throw badRequest(`can't push tagged ref ${text} by digest`)
      return reference
    })

/** As the client is told of them. */
export const namesTold = (names: readonly Reference[]): Record<string, string> =>
  names.length > 0 ? { 'image.name': names.map(canonical).join(',') } : {}

/** Of exporters of images. Errors: `bad-request`, `not-implemented`. */
export const readImageOptions = (attributes: Attributes): ImageOptions => {
  const compression = readCompression(attributes)
  const isOci = flag(attributes, 'oci-mediatypes') ?? true
  const annotations = Object.entries(attributes).flatMap(readAnnotation)
  if (compression === 'zstd' && !isOci)
    throw badRequest('exporter option "compression=zstd" conflicts with "oci-mediatypes=false"')
  if (!isOci && annotations.some(({ place }) => place !== 'manifest'))
    throw badRequest('cannot export annotations with "oci-mediatypes=false"')
  const epoch = readEpoch(attributes)
  const level = readLevel(attributes, compression)
  const isByDigest = flag(attributes, 'push-by-digest') ?? false
  return {
    names: isByDigest ? readRepositories(attributes) : readNames(attributes),
    isByDigest,
    isPushed: flag(attributes, 'push') ?? false,
    ...{ compression, isOci, annotations },
    ...(level === undefined ? {} : { level }),
    isForced: flag(attributes, 'force-compression') ?? false,
    ...(epoch === undefined ? {} : { epoch }),
    rewritesTimes: flag(attributes, 'rewrite-timestamp') ?? false,
    isArchive: flag(attributes, 'tar') ?? true,
  }
}
