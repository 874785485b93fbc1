import { failpoint } from '../../core/failpoint.ts'
import {
  type AssembledLayer,
  assembleImage,
  plainLayer,
  publishTag,
  withIncoming,
} from '../../engine/images/assemble.ts'
import type { ImageRecord } from '../../engine/images/types.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Reference } from '../../oci/reference.ts'
import { dateOf } from '../plan/history.ts'
import type { Plan } from '../plan/types.ts'
import type { LayerRef, Tree } from '../solver/types.ts'
import { type ExportedLayer, exportedConfig } from './imageConfig.ts'
import type { ExportStep, InlineCache } from './types.ts'

export interface ImageExport extends Omit<ExportStep, 'layersOf'> {
  inlineCache?: InlineCache | undefined
  plan: Pick<Plan, 'image' | 'baseImage' | 'epoch'>
  tree: Tree
  names: readonly Reference[]
}

interface Sealed extends AssembledLayer {
  told: ExportedLayer
}

/** The layer's archive goes into the store while its diff id is found. */
const sealLayer = async (
  { engine, snapshots, originOf, operation }: ImageExport,
  id: string,
  brought: Digest[],
): Promise<Sealed> => {
  const { signal } = operation
  let blob: { digest: Digest; size: number } | undefined
  const known = snapshots.find(id)
  const there = known && (await engine.content.info(known.diffId))
  const { diffId } = await snapshots.seal(id, {
    signal,
    ...(there
      ? {}
      : {
          through: async archive => {
            blob = await engine.content.write(archive, { signal })
          },
        }),
  })
  const stored = blob ?? there ?? { digest: diffId, size: 0 }
  brought.push(stored.digest)
  failpoint('build-export.sealed')
  return { descriptor: plainLayer(stored), diffId, told: { diffId, ...originOf(id) } }
}

const imageLayer = (layer: LayerRef & { kind: 'image' }): Sealed => {
  const { blob: digest, size, mediaType, diffId, origin } = layer
  return { descriptor: { mediaType, digest, size }, diffId, told: { diffId, description: '', ...origin } }
}

/** Into the engine's own store, with its names. The caller holds the tree. */
export const exportImage = async (request: ImageExport): Promise<ImageRecord> => {
  const { engine, plan, tree, names, operation, say } = request
  using here = await request.bring(tree)
  return await withIncoming(engine, operation.signal, async brought => {
    say('exporting layers')
    const layers: Sealed[] = []
    for (const layer of here.layers)
      layers.push(layer.kind === 'image' ? imageLayer(layer) : await sealLayer(request, layer.id, brought))
    const { epoch, baseImage } = plan
    const told = layers.map(layer => layer.told)
    const config = exportedConfig(plan.image, told, {
      ...(epoch === undefined ? {} : { epoch: dateOf(epoch) }),
      ...(baseImage ? { base: baseImage } : {}),
      cache: request.inlineCache?.(told),
    })
    const [first, ...others] = names
    const image = await assembleImage(engine, { config, layers, name: first, operation }, brought)
    say(`writing image ${image.id}`)
    const target = image.targets[0]?.descriptor.digest
    for (const name of others) await engine.images.tag({ image, ...(target ? { target } : {}) }, name)
    for (const name of names) {
      say(`naming to ${name.domain}/${name.path}:${name.tag ?? 'latest'}`)
      publishTag(engine, image.id, name)
    }
    failpoint('build-export.named')
    return image
  })
}
