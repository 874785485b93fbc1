import type { Digest } from '../../oci/digest.ts'
import type { CacheRecord, LayerOrigin, LayerRef, SolvedResult } from '../solver/types.ts'
import type { CacheForm, LayerForm, OwnForm, RecordForm } from './types.ts'

/** Writes what a build knows in BuildKit's form. */

/** A layer as it is transferred. */
export interface TransferLayer {
  digest: Digest
  mediaType: string
  size: number
  diffId: Digest
  /** None of an image's own. */
  origin?: LayerOrigin
}

/** Of equal layers the same. */
export const layerKey = (layer: LayerRef): string => (layer.kind === 'snapshot' ? layer.id : layer.diffId)

/** How a record's result is told; undefined where it does not go along. */
type Placing = (record: CacheRecord) => Pick<RecordForm, 'layers' | 'chains'> | undefined

type OriginOf = (layer: LayerRef) => LayerOrigin | undefined

const topOf = (record: CacheRecord, originOf: OriginOf): Pick<OwnForm, 'layer'> => {
  const top = record.tree.layers.at(-1)
  const origin = top && originOf(top)
  if (!origin) return { layer: null }
  const isOwn = origin.created === dateOf(record) && origin.description === record.description
  return isOwn ? {} : { layer: origin }
}

const dateOf = ({ createdAt }: CacheRecord): string => new Date(createdAt).toISOString()

const ownForm = ({ keys, chain, bases, record }: SolvedResult, originOf: OriginOf): OwnForm => ({
  ...{ keys, chain, bases },
  ...(record
    ? {
        description: record.description,
        milliseconds: Math.round(record.duration),
        ...topOf(record, originOf),
      }
    : {}),
})

/** Each after those that it was made of. */
export const recordForms = (
  results: readonly SolvedResult[],
  { place, originOf }: { place: Placing; originOf: OriginOf },
): RecordForm[] => {
  const indexes = new Map<string, number>()
  const forms: RecordForm[] = []
  for (const result of results) {
    const { keys, chain, bases, record } = result
    const [digest] = keys
    if (digest === undefined || indexes.has(chain)) continue
    const placed = record && place(record)
    const links = bases.flatMap(base => indexes.get(base) ?? [])
    forms.push({
      digest,
      ...(links.length > 0 ? { inputs: links.map(link => [{ link }]) } : {}),
      ...placed,
      berth: ownForm(placed ? result : { keys, chain, bases }, originOf),
    })
    indexes.set(chain, forms.length - 1)
  }
  return forms
}

/** Layers of a cache, each once for each that it lies on. */
class LayerTable {
  readonly layers: LayerForm[] = []
  readonly #indexes = new Map<string, number>()

  /** The index of the layer on top; -1 of none. */
  add(stack: readonly TransferLayer[]): number {
    return stack.reduce((parent, layer) => this.#index(layer, parent), -1)
  }

  #index({ digest, mediaType, size, diffId, origin }: TransferLayer, parent: number): number {
    const key = `${digest} ${parent}`
    const known = this.#indexes.get(key)
    if (known !== undefined) return known
    const index = this.layers.length
    const created = origin ? { createdAt: origin.created } : {}
    this.layers.push({ blob: digest, parent, annotations: { mediaType, diffID: diffId, size, ...created } })
    this.#indexes.set(key, index)
    return index
  }
}

/** Results whose layers are all at hand in `layers`, by `layerKey`, go along. */
export const cacheForm = (
  results: readonly SolvedResult[],
  layers: ReadonlyMap<string, TransferLayer>,
): CacheForm => {
  const table = new LayerTable()
  const records = recordForms(results, {
    originOf: layer => layers.get(layerKey(layer))?.origin,
    place: record => {
      const stack = record.tree.layers.flatMap(layer => layers.get(layerKey(layer)) ?? [])
      if (stack.length === 0 || stack.length < record.tree.layers.length) return undefined
      return { layers: [{ layer: table.add(stack), createdAt: dateOf(record) }] }
    },
  })
  return { layers: table.layers, records }
}

/** The records of an image's cache; its layers, bottom first, are what they are told by. */
export const inlineForms = (
  results: readonly SolvedResult[],
  { layers, originOf }: { layers: readonly LayerRef[]; originOf: OriginOf },
): RecordForm[] => {
  const places = new Map(layers.map((layer, index) => [layerKey(layer), index]))
  return recordForms(results, {
    originOf,
    place: record => {
      const indexes = record.tree.layers.flatMap(layer => places.get(layerKey(layer)) ?? [])
      if (indexes.length === 0 || indexes.length < record.tree.layers.length) return undefined
      const createdAt = dateOf(record)
      const isPrefix = indexes.every((index, place) => index === place)
      if (isPrefix) return { layers: [{ layer: indexes.length - 1, createdAt }] }
      return { chains: [{ layers: indexes, createdAt }] }
    },
  })
}
