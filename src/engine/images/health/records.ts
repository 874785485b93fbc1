import { existsSync } from 'node:fs'
import { messageOf } from '../../../core/errors.ts'
import type { Digest } from '../../../oci/digest.ts'
import { familiar, parseReference } from '../../../oci/reference.ts'
import type { Container } from '../../containers/container.ts'
import { neededImages } from '../../containers/imageMounts.ts'
import type { Engine } from '../../engine.ts'
import type { TagRecord } from '../types.ts'
import { withoutIncoming } from './alone.ts'
import { containersOf, namesOf } from './census.ts'
import type { CheckRequest, Finding, Mending } from './types.ts'

/** The database itself, and records that name what is not there. */

export const checkDatabase = async (
  engine: Engine,
  { depth, operation, found }: CheckRequest,
): Promise<void> => {
  operation.at('checking the database')
  for (const text of await engine.database.check(depth === 'quick'))
    found({
      kind: 'database-damaged',
      id: '',
      text: `the database is damaged: ${text}`,
      images: [],
      containers: [],
    })
}

export const checkTags = async (engine: Engine, request: CheckRequest): Promise<void> => {
  using _alone = await withoutIncoming(engine, request.operation)
  for (const { value } of await engine.database.load('tag')) {
    const { name, image } = value as TagRecord
    if (engine.images.byId(image)) continue
    const shown = familiar(parseReference(name))
    const finding: Finding = {
      kind: 'tag-without-image',
      id: name,
      text: `the name ${shown} stands for the image ${image}, which is not here`,
      images: [shown],
      containers: [],
    }
    if (request.repair === 'none') request.found(finding)
    else {
      await engine.images.forget({ names: [name] })
      request.found({ ...finding, mending: { result: 'removed', text: 'the name was removed' } })
    }
  }
}

/** Images unpack what is missing when they are used, and those of other platforms no sooner; a repair does it now. */
export const checkUnpacked = async (engine: Engine, request: CheckRequest): Promise<void> => {
  for (const image of engine.images.rows()) {
    if (await engine.layers.find(image.config.rootfs.diff_ids)) continue
    const mending = await unpackAgain(engine, image.id, request)
    if (!engine.images.byId(image.id)) continue
    request.found({
      kind: 'layer-missing',
      id: image.id,
      text: `the image ${namesOf(engine, [image]).join(', ')} is not unpacked`,
      images: namesOf(engine, [image]),
      containers: containersOf(engine, [image]),
      ...(mending ? { mending } : {}),
    })
  }
}

const unpackAgain = async (
  engine: Engine,
  id: Digest,
  { repair, operation }: CheckRequest,
): Promise<Mending | undefined> => {
  if (repair === 'none') return undefined
  const image = engine.images.byId(id)
  if (!image) return { result: 'failed', text: 'its image is not here any more' }
  operation.at(`unpacking ${namesOf(engine, [image]).join(', ')}`)
  try {
    using lease = engine.images.lease(image.id)
    await engine.images.layersOf(lease.image, operation.signal)
    return { result: 'repaired', text: 'its layers were unpacked again' }
  } catch (error) {
    operation.signal.throwIfAborted()
    return { result: 'failed', text: messageOf(error) }
  }
}

const checkContainer = async (
  engine: Engine,
  { id, record }: Container,
  request: CheckRequest,
): Promise<Pick<Finding, 'text' | 'mending'> | undefined> => {
  for (const image of neededImages(record)) {
    if (await engine.layers.find(image.diffIds)) continue
    const mending = await unpackAgain(engine, image.id, request)
    return {
      text: `layers of the container ${record.name} are missing`,
      ...(mending ? { mending } : {}),
    }
  }
  const isThere = (await engine.uppers.list()).includes(id) && existsSync(engine.uppers.paths(id).UpperDir)
  return isThere
    ? undefined
    : { text: `what the container ${record.name} wrote is missing: its folder in uppers/ is not there` }
}

/** Gives how many there are. */
export const checkContainers = async (engine: Engine, request: CheckRequest): Promise<number> => {
  const all = engine.containers.all()
  request.operation.at('checking containers')
  for (const container of all) {
    const wrong = await checkContainer(engine, container, request)
    // One that is being removed lacks one thing after another.
    if (!wrong || container.removing || !engine.containers.byId(container.id)) continue
    const image = engine.images.byId(container.record.imageId)
    request.found({
      kind: 'container-damaged',
      id: container.id,
      images: namesOf(engine, image ? [image] : []),
      containers: [container.record.name],
      ...wrong,
    })
  }
  return all.length
}
