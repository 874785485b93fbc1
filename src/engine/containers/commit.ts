import { nowText } from '../../core/clock.ts'
import { badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import type { ImageConfig } from '../../oci/image.ts'
import { familiar, type Reference } from '../../oci/reference.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { ContainerConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import {
  type AssembledLayer,
  assembleImage,
  plainLayer,
  publishTag,
  withIncoming,
} from '../images/assemble.ts'
import { applyChanges } from '../images/changes.ts'
import { collectQuietly } from '../images/collect.ts'
import { reachTarget } from '../images/reach.ts'
import { runConfigOf } from '../images/runConfig.ts'
import type { ImageRecord } from '../images/types.ts'
import type { Operation } from '../operations.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { refuseGone } from './export.ts'
import { mergeConfig } from './mergeConfig.ts'
import { settleExit } from './state.ts'
import { pauseContainer, unpauseContainer } from './stop.ts'

export interface CommitRequest {
  name: Reference | undefined
  author: string
  comment: string
  pause: boolean
  /** In place of the container's own configuration, which fills in what it leaves out. */
  config: ContainerConfig | undefined
  /** Dockerfile instructions. */
  changes: readonly string[]
  operation: Operation
}

/** The layer of a container that changed nothing is not stacked on the image. */
const emptyLayer = digestOf(Buffer.alloc(1024))

const pauseFor = async (
  engine: Engine,
  container: Container,
  signal: AbortSignal,
): Promise<AsyncDisposable | undefined> => {
  await settleExit(engine, container)
  if (container.record.state.status !== 'running') return undefined
  // Written down first, so that the death of this daemon does not leave it paused.
  container.record.passingPause = true
  await engine.containers.save(container)
  try {
    await pauseContainer(engine, container, signal)
  } catch (error) {
    delete container.record.passingPause
    throw error
  }
  failpoint('commit.paused')
  return {
    [Symbol.asyncDispose]: async () => {
      delete container.record.passingPause
      // It may have been unpaused or killed by somebody else meanwhile.
      if (container.record.state.status === 'paused') await unpauseContainer(engine, container)
    },
  }
}

const parentLayers = async (engine: Engine, parent: ImageRecord): Promise<AssembledLayer[]> => {
  const [target] = parent.targets
  const reached = target ? await reachTarget(engine, target.manifest) : undefined
  if (!target || reached?.layers.length !== target.layers.length)
    throw badRequest(`image ${parent.id} is not complete: load it again`)
  return reached.layers.map((descriptor, index) => ({
    descriptor,
    diffId: target.layers[index]?.diffId ?? descriptor.digest,
  }))
}

const childConfig = (
  parent: ImageConfig,
  container: Container,
  { request, layer, run }: { request: CommitRequest; layer: BlobInfo; run: ContainerConfig },
): ImageConfig => {
  const created = nowText()
  const isEmpty = layer.digest === emptyLayer
  const { author, comment } = request
  return {
    created,
    architecture: parent.architecture,
    os: parent.os,
    ...(parent.variant ? { variant: parent.variant } : {}),
    ...(author ? { author } : {}),
    ...(comment ? { comment } : {}),
    container: container.id,
    config: runConfigOf(run),
    rootfs: {
      type: 'layers',
      diff_ids: isEmpty ? parent.rootfs.diff_ids : [...parent.rootfs.diff_ids, layer.digest],
    },
    history: [
      ...(parent.history ?? []),
      {
        created,
        created_by: (container.record.config.Cmd ?? []).join(' '),
        ...(author ? { author } : {}),
        ...(comment ? { comment } : {}),
        ...(isEmpty ? { empty_layer: true } : {}),
      },
    ],
  }
}

const writeLayer = async (
  engine: Engine,
  container: Container,
  { pause, operation }: CommitRequest,
): Promise<BlobInfo> => {
  const { signal } = operation
  operation.at('pausing the container')
  await using _paused = pause ? await pauseFor(engine, container, signal) : undefined
  operation.at('writing its changes as a layer')
  return await engine.content.write(engine.uppers.diffTar(container.id, signal), { signal })
}

/** `POST /commit`. Errors: 400 for the changes, 409 for a container that is going. */
export const commitContainer = async (
  engine: Engine,
  container: Container,
  request: CommitRequest,
): Promise<Digest> => {
  refuseGone(container, 'commit')
  const { record } = container
  const { operation } = request
  const run = mergeConfig(applyChanges(request.config ?? record.config, request.changes), record.config)
  using lease = engine.images.lease(record.imageId)
  const image = await withIncoming(engine, operation.signal, async brought => {
    const layer = await writeLayer(engine, container, request)
    brought.push(layer.digest)
    failpoint('commit.layer')
    const config = childConfig(lease.image.config, container, { request, layer, run })
    const below = await parentLayers(engine, lease.image)
    const isStacked = config.rootfs.diff_ids.length > below.length
    const layers = isStacked ? [...below, { descriptor: plainLayer(layer), diffId: layer.digest }] : below
    return assembleImage(
      engine,
      { config, layers, name: request.name, parent: record.imageId, operation },
      brought,
    )
  })
  // Stored before it was known to be empty; no record names it.
  if (image.config.rootfs.diff_ids.length === record.diffIds.length)
    await collectQuietly(engine, [emptyLayer])
  engine.events.publish('image', 'create', image.id, { name: image.id })
  publishTag(engine, image.id, request.name)
  containerEvent(engine, container, 'commit', {
    comment: request.comment,
    imageID: image.id,
    imageRef: request.name ? familiar(request.name) : '',
  })
  return image.id
}
