import { hasCode, messageOf } from '../../../core/errors.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Layer } from '../../../store/types.ts'
import type { Engine } from '../../engine.ts'
import { withoutIncoming } from './alone.ts'
import { containersWith, type KnownLayer, knownLayers, namesOf } from './census.ts'
import type { CheckRequest, Finding, Mending } from './types.ts'

/** Unpacked layers against their blobs, those below first: a layer may have content of theirs. */

export interface LayersChecked {
  count: number
  unverifiable: number
}

interface LayerCheck {
  layer: Layer
  /** Undefined where nothing tells what it is made of. */
  place: KnownLayer | undefined
  /** Why its content can be compared with nothing. */
  unknown?: string
}

/** The place whose blob is whole. */
const choose = (layer: Layer, places: readonly KnownLayer[], bad: ReadonlySet<Digest>): LayerCheck => {
  const place = places.find(({ source }) => !bad.has(source.blob))
  if (place) return { layer, place }
  const [first] = places
  const unknown = first
    ? `its blob ${first.source.blob} is damaged or missing`
    : 'no image is here that it belongs to'
  return { layer, place: first, unknown }
}

type Verdict =
  | { state: 'whole' }
  | { state: 'unverifiable'; why: string }
  | Pick<Finding, 'text' | 'differences'>

const stillThere = async (engine: Engine, { key }: Layer): Promise<boolean> =>
  (await engine.layers.list()).some(layer => layer.key === key)

const damaged = (layer: Layer, count: number, differences: Finding['differences']): Verdict => ({
  text: `the layer ${layer.diffId} is damaged: ${count} of its paths ${count === 1 ? 'is' : 'are'} not as its blob tells`,
  ...(differences ? { differences } : {}),
})

const compare = async (engine: Engine, place: KnownLayer, request: CheckRequest): Promise<Verdict> => {
  const { layer, source } = place
  const total = (await engine.content.info(source.blob))?.size ?? 0
  try {
    const { diffId, count, differences } = await engine.layers.compare(place, {
      signal: request.operation.signal,
      onProgress: current =>
        request.progress({ status: 'Checking layer', id: layer.diffId.slice(7, 19), current, total }),
    })
    if (diffId !== source.diffId)
      return {
        text: `the layer ${source.diffId} cannot be right: its blob ${source.blob} unpacks to ${diffId}`,
      }
    return count === 0 ? { state: 'whole' } : damaged(layer, count, differences)
  } catch (error) {
    request.operation.signal.throwIfAborted()
    if (hasCode(error, 'not-found') && engine.layers.look(layer) === 'folder') return lost(layer)
    return { state: 'unverifiable', why: messageOf(error) }
  }
}

const lost = ({ diffId }: Layer): Verdict => ({ text: `the folder of the layer ${diffId} is missing` })

const judge = async (engine: Engine, check: LayerCheck, request: CheckRequest): Promise<Verdict> => {
  const { layer, place, unknown } = check
  const found = engine.layers.look(layer)
  if (found === 'folder') return lost(layer)
  if (found === 'record')
    return { text: `the layer ${layer.diffId} is damaged: its record layer.json is missing, or another’s` }
  if (unknown !== undefined || !place)
    return { state: 'unverifiable', why: unknown ?? 'nothing tells what it is made of' }
  return request.depth === 'quick' ? { state: 'whole' } : await compare(engine, place, request)
}

/** Unpacks it once more, and puts that in its place: who has it mounted goes on with the old one. */
const remake = async (engine: Engine, place: KnownLayer, request: CheckRequest): Promise<Mending> => {
  const { operation } = request
  const { layer } = place
  operation.at(`unpacking the layer ${layer.diffId} again`)
  using _held = engine.fetches.hold(place.source.blob)
  using remade = await engine.layers.remake(place, { signal: operation.signal })
  using _alone = await withoutIncoming(engine, operation)
  const users = [
    ...engine.uppers.mountedWith(layer.key),
    ...engine.keepers.flatMap(keeper => keeper.mountedWith(layer.key)),
  ]
  if (!remade.replace(users)) return { result: 'removed', text: 'it was removed meanwhile' }
  const names = users.map(id => engine.containers.byId(id)?.record.name ?? id)
  const later = names.length > 0 ? `; ${names.join(', ')} will have it from the next start on` : ''
  return { result: 'repaired', text: `it was unpacked again from its blob${later}` }
}

const mend = async (
  engine: Engine,
  { place, unknown }: LayerCheck,
  request: CheckRequest,
): Promise<Mending | undefined> => {
  if (request.repair === 'none') return undefined
  if (!place || unknown !== undefined)
    return { result: 'failed', text: `it cannot be unpacked again: ${unknown ?? 'nothing tells its blob'}` }
  try {
    return await remake(engine, place, request)
  } catch (error) {
    request.operation.signal.throwIfAborted()
    return { result: 'failed', text: `it could not be unpacked again: ${messageOf(error)}` }
  }
}

const checkLayer = async (
  engine: Engine,
  check: LayerCheck,
  { request, checked }: { request: CheckRequest; checked: LayersChecked },
): Promise<void> => {
  const { layer, place } = check
  const verdict = await judge(engine, check, request)
  checked.count++
  if ('state' in verdict && verdict.state === 'whole') return
  // One that is being removed lacks one thing after another.
  if (!(await stillThere(engine, layer))) return
  const about = {
    id: layer.key,
    images: namesOf(engine, place?.images ?? []),
    containers: containersWith(engine, layer.key),
  }
  if ('state' in verdict) {
    checked.unverifiable++
    const text = `the content of the layer ${layer.diffId} cannot be checked: ${verdict.why}`
    request.found({ kind: 'layer-unverifiable', text, ...about })
    return
  }
  const mending = await mend(engine, check, request)
  // Then the next pull or load unpacks it, instead of finding it here.
  if (mending?.result === 'failed' && engine.layers.look(layer) === 'folder')
    await engine.layers.remove(layer.key)
  request.found({ kind: 'layer-damaged', ...verdict, ...about, ...(mending ? { mending } : {}) })
}

/** `bad` are the blobs that are not whole. */
export const checkLayers = async (
  engine: Engine,
  bad: ReadonlySet<Digest>,
  request: CheckRequest,
): Promise<LayersChecked> => {
  const checked: LayersChecked = { count: 0, unverifiable: 0 }
  const known = knownLayers(engine)
  const others = (await engine.layers.list()).filter(({ key }) => !known.has(key))
  const checks = [
    ...[...known.values()].flatMap(places => (places[0] ? [choose(places[0].layer, places, bad)] : [])),
    ...others.map(layer => choose(layer, [], bad)),
  ]
  for (const [index, check] of checks.entries()) {
    request.operation.at(`checking layer ${index + 1} of ${checks.length}`)
    await checkLayer(engine, check, { request, checked })
  }
  return checked
}
