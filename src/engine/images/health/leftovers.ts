import type { Digest } from '../../../oci/digest.ts'
import type { Engine } from '../../engine.ts'
import { collectGarbage, layersInUse } from '../collect.ts'
import { keptFetched } from '../fetched.ts'
import { withoutIncoming } from './alone.ts'
import { blobNeeds } from './census.ts'
import type { CheckRequest, Finding, Mending } from './types.ts'

/** Blobs and layers that nobody names: a start of the daemon removes them, and so does a repair. */

const findBlobs = async (engine: Engine): Promise<Finding[]> => {
  const used = new Set(blobNeeds(engine).keys())
  const kept = await keptFetched(engine, used)
  const found: Finding[] = []
  for await (const { digest, size } of engine.content.list()) {
    if (used.has(digest) || kept.has(digest) || engine.fetches.isHeld(digest)) continue
    const text = `the blob ${digest} (${size} bytes) is needed by no image`
    found.push({ kind: 'blob-leftover', id: digest, text, images: [], containers: [] })
  }
  return found
}

const findLayers = async (engine: Engine): Promise<Finding[]> => {
  const used = layersInUse(engine)
  return (await engine.layers.list())
    .filter(({ key }) => !used.has(key))
    .map(({ key, diffId, size }) => ({
      kind: 'layer-leftover',
      id: key,
      text: `the layer ${diffId} (${size} bytes) is needed by no image and no container`,
      images: [],
      containers: [],
    }))
}

/** Gives the bytes that were freed. */
export const checkLeftovers = async (engine: Engine, request: CheckRequest): Promise<number> => {
  const found = await findAlone(engine, request)
  if (request.repair === 'none' || found.length === 0) {
    for (const finding of found) request.found(finding)
    return 0
  }
  const blobs = found.flatMap(({ kind, id }) => (kind === 'blob-leftover' ? [id as Digest] : []))
  const freed = await collectGarbage(engine, blobs)
  const mending: Mending = { result: 'removed', text: 'it was removed' }
  for (const finding of found) request.found({ ...finding, mending })
  return freed
}

const findAlone = async (engine: Engine, { operation }: CheckRequest): Promise<Finding[]> => {
  using _alone = await withoutIncoming(engine, operation)
  operation.at('looking for what nobody needs')
  return [...(await findBlobs(engine)), ...(await findLayers(engine))]
}
