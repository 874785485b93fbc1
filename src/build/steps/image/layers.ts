import { notFound } from '../../../core/errors.ts'
import type { Engine } from '../../../engine/engine.ts'
import { bringLayers } from '../../../engine/images/pull.ts'
import type { PullLine } from '../../../engine/images/pullProgress.ts'
import { mediaTypes } from '../../../oci/image.ts'
import { parseReference, type Reference } from '../../../oci/reference.ts'
import type { Credentials, ImageSource } from '../../../registry-client/types.ts'
import type { Layer, SnapshotStore } from '../../../store/types.ts'
import type { LayerRef, Tree } from '../../solver/types.ts'

/** From what a tree is made of to folders that can be mounted. */

type ImageRef = LayerRef & { kind: 'image' }

export interface LayerNeeds {
  engine: Engine
  snapshots: SnapshotStore
  credentials(domain: string, signal: AbortSignal): Promise<Credentials | undefined>
  /** What layers are taken from in the stead of the registries that they name. */
  source?: ImageSource
  /** Who has layers of a reference that names no repository. */
  clientCache?: (reference: string) => ImageSource | undefined
  report(line: PullLine): void
  signal: AbortSignal
}

const isImage = (layer: LayerRef): layer is ImageRef => layer.kind === 'image'

/** Layers of images follow one another from the bottom; what was made here lies over them, also between (`COPY --link`). */
const runs = (layers: readonly LayerRef[]): LayerRef[][] => {
  const all: LayerRef[][] = []
  for (const layer of layers) {
    const last = all.at(-1)
    if (last?.[0]?.kind === layer.kind) last.push(layer)
    else all.push([layer])
  }
  return all
}

/** Layers of images that are unpacked as one stack each, from the bottom. */
export const imageStacks = (layers: readonly LayerRef[]): ImageRef[][] =>
  runs(layers).flatMap(run => (run.every(isImage) ? [run] : []))

/** Layers of images in a tree, with those that are here as folders. */
export const presentLayers = (
  { layers }: Pick<Engine, 'layers'>,
  tree: Tree,
): { ref: ImageRef; layer: Layer | undefined }[] =>
  imageStacks(tree.layers).flatMap(stack => {
    const present = layers.present(stack.map(({ diffId }) => diffId))
    return stack.map((ref, index) => ({ ref, layer: present[index] }))
  })

/** Parts of a run that are had from one repository each, from the bottom. */
const partsOf = (refs: readonly ImageRef[]): ImageRef[][] => {
  const parts: ImageRef[][] = []
  for (const ref of refs) {
    const last = parts.at(-1)
    if (last?.[0]?.reference === ref.reference) last.push(ref)
    else parts.push([ref])
  }
  return parts
}

/** A client's folder has no name as repositories have them: one is made of it, to be shown. */
const originOf = async (
  needs: LayerNeeds,
  reference: string,
): Promise<{ name: Reference; repository: ImageSource }> => {
  const { engine, signal, source } = needs
  const folder = needs.clientCache?.(reference)
  if (folder) return { repository: folder, name: { domain: 'client', path: reference } }
  if (reference.includes(' '))
    throw notFound(`layers of the ${reference} are not here, and who had them has gone: build again`)
  const name = parseReference(reference)
  if (source) return { name, repository: source }
  const credentials = await needs.credentials(name.domain, signal)
  return { name, repository: engine.registries.repository(name.domain, name.path, credentials) }
}

/** Unpacks them over those below, and fetches what of them is not here. */
const bringPart = async (
  needs: LayerNeeds,
  part: readonly ImageRef[],
  below: readonly ImageRef[],
): Promise<void> => {
  const { engine, signal } = needs
  await bringLayers(engine, {
    ...(await originOf(needs, part[0]?.reference ?? '')),
    operation: { signal, at: () => signal.throwIfAborted() },
    report: needs.report,
    layers: part.map(({ blob: digest, size, mediaType }) => ({ digest, size, mediaType })),
    sources: [...below, ...part].map(({ blob, diffId }) => ({ blob, diffId })),
  })
}

const bringRun = async (needs: LayerNeeds, refs: readonly ImageRef[]): Promise<void> => {
  let count = 0
  for (const part of partsOf(refs)) {
    await bringPart(needs, part, refs.slice(0, count))
    count += part.length
  }
}

const fetchRun = async (needs: LayerNeeds, refs: readonly ImageRef[]): Promise<Layer[]> => {
  const { engine } = needs
  const diffIds = refs.map(({ diffId }) => diffId)
  const found = await engine.layers.find(diffIds)
  if (found) return found
  await bringRun(needs, refs)
  const layers = await engine.layers.find(diffIds)
  if (!layers)
    throw notFound(`layers of ${refs[0]?.reference} were removed while they were needed: build again`)
  return layers
}

/** The same layer by a blob that is here: as it came, or plain; undefined where none is. */
const withBlobHere = async ({ content }: Engine, ref: ImageRef): Promise<ImageRef | undefined> => {
  if (await content.info(ref.blob)) return ref
  const plain = await content.info(ref.diffId)
  return plain && { ...ref, blob: plain.digest, size: plain.size, mediaType: mediaTypes.ociLayer }
}

/** A tree whose layers of images are here as blobs, which stay until it is disposed of. */
export interface BroughtTree extends Tree, Disposable {}

const runWithBlobs = async (needs: LayerNeeds, run: readonly LayerRef[]): Promise<LayerRef[]> => {
  const refs = run.filter(isImage)
  if (refs.length === 0) return [...run]
  const here = await Promise.all(refs.map(ref => withBlobHere(needs.engine, ref)))
  const all = refs.map((ref, index) => here[index] ?? ref)
  // What is here by another blob does not come again.
  await bringRun(needs, all.slice(0, here.findLastIndex(ref => !ref) + 1))
  return all
}

/**
 * For who names blobs: layers of images are here as such, too, and not only as folders, which may have come of other
 * blobs. Gives the tree by those that are here. Not to be called by who shares `images.incoming`. Errors: those of the
 * registry.
 */
export const withBlobs = async (needs: LayerNeeds, { layers }: Tree): Promise<BroughtTree> => {
  using holds = new DisposableStack()
  for (const { blob, diffId } of layers.filter(isImage))
    for (const digest of [blob, diffId]) holds.use(needs.engine.fetches.hold(digest))
  const all: LayerRef[] = []
  for (const run of runs(layers)) all.push(...(await runWithBlobs(needs, run)))
  const kept = holds.move()
  return { layers: all, [Symbol.dispose]: () => kept.dispose() }
}

const foundSnapshot = (snapshots: SnapshotStore, id: string): Layer => {
  const layer = snapshots.find(id)
  if (!layer) throw notFound(`the result ${id} of a build step is not there any more`)
  return layer
}

/** Fetches and unpacks what is not here. The caller holds the tree, so that nothing of it is collected. Errors: those of the registry. */
export const layersOf = async (needs: LayerNeeds, { layers }: Tree): Promise<Layer[]> => {
  const all: Layer[] = []
  for (const run of runs(layers)) {
    if (run.every(isImage)) all.push(...(await fetchRun(needs, run)))
    else for (const layer of run) if (!isImage(layer)) all.push(foundSnapshot(needs.snapshots, layer.id))
  }
  return all
}
