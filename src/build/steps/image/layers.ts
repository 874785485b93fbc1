import { notFound } from '../../../core/errors.ts'
import type { Engine } from '../../../engine/engine.ts'
import { bringLayers } from '../../../engine/images/pull.ts'
import type { PullLine } from '../../../engine/images/pullProgress.ts'
import { familiar, parseReference } from '../../../oci/reference.ts'
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

const fetchRun = async (needs: LayerNeeds, refs: readonly ImageRef[]): Promise<Layer[]> => {
  const { engine, signal } = needs
  const diffIds = refs.map(({ diffId }) => diffId)
  const found = await engine.layers.find(diffIds)
  if (found) return found
  const name = parseReference(refs[0]?.reference ?? '')
  const { domain, path } = name
  const repository =
    needs.source ?? engine.registries.repository(domain, path, await needs.credentials(domain, signal))
  await bringLayers(engine, {
    name,
    repository,
    operation: { signal, at: () => signal.throwIfAborted() },
    report: needs.report,
    layers: refs.map(({ blob: digest, size, mediaType }) => ({ digest, size, mediaType })),
    sources: refs.map(({ blob, diffId }) => ({ blob, diffId })),
  })
  const layers = await engine.layers.find(diffIds)
  if (!layers) throw notFound(`layers of ${familiar(name)} were removed while they were needed`)
  return layers
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
