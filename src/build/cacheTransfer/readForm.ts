import { badRequest } from '../../core/errors.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import type { KeyDigest, LayerOrigin, LayerRef } from '../solver/types.ts'
import type { CacheForm, ImportedRecord, LayerForm, OwnForm, RecordForm } from './types.ts'

/** Reads caches in BuildKit's form, which anybody may have written. */

export type ImageLayer = Extract<LayerRef, { kind: 'image' }>

/** What was read. `others`: records that are not ours. */
export interface ReadCache {
  records: ImportedRecord[]
  others: number
}

const damaged = (why: string): Error => badRequest(`the cache is damaged: ${why}; export it anew`)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const objects = <T extends object>(value: unknown, what: string): T[] => {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || !value.every(isObject)) throw damaged(`${what} are no list of objects`)
  return value as T[]
}

const isDigests = (value: unknown): value is KeyDigest[] =>
  Array.isArray(value) && value.every(one => typeof one === 'string' && isDigest(one))

/** A layer, and the index of the one that it lies on. */
export interface PlacedLayer {
  layer: ImageLayer
  parent: number
}

const placedLayer = (reference: string, { blob, parent = 0, annotations }: LayerForm): PlacedLayer => {
  const { diffID, size = 0, mediaType = '' } = isObject(annotations) ? annotations : {}
  const isRight =
    typeof blob === 'string' &&
    isDigest(blob) &&
    typeof diffID === 'string' &&
    isDigest(diffID) &&
    Number.isSafeInteger(size) &&
    Number.isSafeInteger(parent) &&
    typeof mediaType === 'string'
  if (!isRight) throw damaged('a layer has no digest, size or place')
  const layer: ImageLayer = {
    kind: 'image',
    ...{ diffId: diffID as Digest, blob: blob as Digest, size, mediaType, reference },
  }
  return { layer, parent }
}

/** More than any image may have. */
const mostLayers = 1000

/** From the bottom to the layer of this index, as indexes. */
const pathTo = (layers: readonly PlacedLayer[], top: number): number[] => {
  const path: number[] = []
  for (let index = top; index !== -1; ) {
    const placed = layers[index]
    if (!placed) throw damaged(`there is no layer ${index}`)
    if (path.length >= mostLayers) throw damaged('its layers have no end')
    path.unshift(index)
    index = placed.parent
  }
  return path
}

interface Result {
  path: number[]
  createdAt: number
}

const timeOf = (text: unknown): number => {
  const time = typeof text === 'string' ? Date.parse(text) : 0
  if (!Number.isFinite(time)) throw damaged('a time in it is none')
  return time
}

const resultOf = (layers: readonly PlacedLayer[], record: RecordForm): Result | undefined => {
  const [linear] = objects<{ layer: number; createdAt?: string }>(record.layers, 'results')
  if (linear) return { path: pathTo(layers, linear.layer), createdAt: timeOf(linear.createdAt) }
  const [chained] = objects<{ layers: number[]; createdAt?: string }>(record.chains, 'results')
  if (!chained) return undefined
  const path = Array.isArray(chained.layers) ? chained.layers : []
  if (path.length === 0 || path.length > mostLayers || path.some(index => !layers[index]))
    throw damaged('a result has no layers')
  return { path, createdAt: timeOf(chained.createdAt) }
}

const ownOf = ({ berth }: RecordForm): OwnForm | undefined => {
  if (!isObject(berth)) return undefined
  const { keys, chain, bases } = berth
  if (!isDigests(keys) || !isDigests([chain]) || !isDigests(bases)) throw damaged('a key is no digest')
  return berth
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** By index: when and by what a layer was made, as the record says whose result it is on top of. */
const originsOf = (
  own: readonly { form: OwnForm; result: Result | undefined }[],
): Map<number, LayerOrigin> => {
  const origins = new Map<number, LayerOrigin>()
  for (const { form, result } of own) {
    const top = result?.path.at(-1)
    if (!result || top === undefined || form.layer === null) continue
    const made = { created: new Date(result.createdAt).toISOString(), description: form.description }
    const { created, description } = isObject(form.layer) ? form.layer : made
    origins.set(top, { created: text(created), description: text(description) })
  }
  return origins
}

const importedRecord = (
  { form, result }: { form: OwnForm; result: Result | undefined },
  layers: readonly ImageLayer[],
): ImportedRecord => {
  const keys = form.keys as KeyDigest[]
  const [chain, bases] = [form.chain as KeyDigest, form.bases as KeyDigest[]]
  if (!result) return { keys, chain, bases }
  const { path, createdAt } = result
  const duration = Number.isFinite(form.milliseconds) ? Number(form.milliseconds) : 0
  return {
    ...{ keys, chain, bases },
    result: {
      ...{ keys, chain, createdAt, duration },
      description: text(form.description),
      tree: { layers: path.flatMap(index => layers[index] ?? []) },
    },
  }
}

/** Records over layers that are known. Errors: `bad-request` for what makes no sense. */
export const readRecords = (records: unknown, layers: readonly PlacedLayer[]): ReadCache => {
  const forms = objects<RecordForm>(records, 'records')
  const own = forms.flatMap(record => {
    const form = ownOf(record)
    return form ? [{ form, result: resultOf(layers, record) }] : []
  })
  const origins = originsOf(own)
  const refs = layers.map(({ layer }, index): ImageLayer => {
    const origin = origins.get(index)
    return origin ? { ...layer, origin } : layer
  })
  return {
    records: own.map(one => importedRecord(one, refs)),
    others: forms.length - own.length,
  }
}

/** `reference`: where its layers are had. Errors: `bad-request` for what makes no sense. */
export const readCacheForm = (value: unknown, reference: string): ReadCache => {
  if (!isObject(value)) throw damaged('it is no object')
  const { layers, records } = value as unknown as CacheForm
  const forms = objects<RecordForm>(records, 'records')
  // Another builder's layers need not say what we want to know.
  if (!forms.some(({ berth }) => isObject(berth))) return { records: [], others: forms.length }
  return readRecords(
    forms,
    objects<LayerForm>(layers, 'layers').map(layer => placedLayer(reference, layer)),
  )
}
