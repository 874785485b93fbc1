import type { UndoStack } from '../../core/disposal.ts'
import { lent } from '../../core/disposal.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Layer } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { rootOptions } from './selinuxLabels.ts'
import type { ContainerRecord, MountedImage, MountPoint } from './types.ts'

/**
 * Images that a container has mounted. Each such mount has a writable layer of
 * its own that nobody writes to, under the container's id and the mount's
 * number: it keeps the image's layers in place, as the container's own does.
 */

const separator = '-'

const upperOf = (id: string, index: number): string => `${id}${separator}${index}`

/** The container that a writable layer belongs to. */
export const ownerOfUpper = (name: string): string => name.split(separator)[0] ?? name

interface ImageMount {
  /** Id of its writable layer. */
  upper: string
  point: MountPoint
  image: MountedImage
}

const imageMountsOf = ({ id, mounts }: ContainerRecord): ImageMount[] =>
  mounts.flatMap((point, index) =>
    point.image ? [{ upper: upperOf(id, index), point, image: point.image }] : [],
  )

/** Every image that a container needs, with its layers: that it was made from, and those that it mounts. */
export const neededImages = (record: ContainerRecord): MountedImage[] => [
  { id: record.imageId, diffIds: record.diffIds },
  ...imageMountsOf(record).map(({ image }) => image),
]

export const imagesOf = (record: ContainerRecord): Digest[] => neededImages(record).map(({ id }) => id)

/** Stacks of layers that a container needs, each bottom first. */
export const stacksOf = (record: ContainerRecord): Digest[][] =>
  neededImages(record).map(({ diffIds }) => diffIds)

/** At create: finds the images that are asked for by name. Errors: `no-such-image`. */
export const resolveImageMounts = (engine: Engine, mounts: readonly MountPoint[]): void => {
  for (const point of mounts) {
    if (point.type !== 'image' || point.image) continue
    const { id, config } = engine.images.get(point.name)
    point.image = { id, diffIds: config.rootfs.diff_ids }
  }
}

/** Those of another container's may be of an image whose names are gone: its layers are kept by that container. */
const layersOf = async (
  engine: Engine,
  { id, diffIds }: MountedImage,
  signal: AbortSignal,
): Promise<Layer[]> => {
  const found = await engine.layers.find(diffIds)
  if (found) return found
  using lease = engine.images.lease(id)
  return await engine.images.layersOf(lease.image, signal)
}

/** Keeps the images from being removed until they are recorded. Errors: `no-such-image`. */
export const leaseImages = (engine: Engine, record: ContainerRecord): Disposable => {
  const leases = new DisposableStack()
  for (const { image } of imageMountsOf(record))
    if (engine.images.byId(image.id)) leases.use(engine.images.lease(image.id))
  return leases
}

/** At create; what is made is noted to be undone. */
export const createImageMounts = async (
  engine: Engine,
  record: ContainerRecord,
  { undo, operation }: { undo: UndoStack; operation: Operation },
): Promise<void> => {
  for (const { upper, point, image } of imageMountsOf(record)) {
    operation.at(`unpacking the image ${point.name}`)
    const layers = await layersOf(engine, image, operation.signal)
    undo.push(`image at ${point.destination}`, () => engine.uppers.remove(upper))
    await engine.uppers.create(upper, layers, { init: false })
    failpoint('create.image')
    point.source = engine.uppers.paths(upper).MergedDir
  }
}

/** Before a run. Idempotent. */
export const mountImages = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  for (const { upper, point } of imageMountsOf(record)) {
    // Nothing is written, so nothing is to be synced at the end.
    point.source = await engine.uppers.mount(upper, {
      volatile: true,
      ...rootOptions(record),
    })
    failpoint('start.image')
  }
}

/** Idempotent. */
export const unmountImages = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  for (const { upper } of imageMountsOf(record)) await engine.uppers.unmount(upper)
}

/** For work on the files of a container that does not run, and whose queue the caller holds. */
export const lendImages = (engine: Engine, record: ContainerRecord): Promise<AsyncDisposable> =>
  lent(
    () => mountImages(engine, record),
    () => unmountImages(engine, record),
  )

/** With the container. Idempotent. */
export const removeImageMounts = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  for (const { upper } of imageMountsOf(record)) await engine.uppers.remove(upper)
}
