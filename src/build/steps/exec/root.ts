import { BerthError } from '../../../core/errors.ts'
import { bindSubpaths, dropPlaces, withPlaces } from '../../../engine/containers/boundPlaces.ts'
import { bindMappedMounts } from '../../../engine/containers/mappedBinds.ts'
import { rootOf } from '../../../linux/idMaps.ts'
import { isFolder, mountStack, type Output, type Preparation, prepareMounts } from './mounts.ts'
import { makePlaces } from './places.ts'

export interface PreparedRoot {
  rootfs: string
  outputs: Output[]
  /** To be disposed of when nothing runs in it any more. */
  places: Disposable
}

/** In what is mounted there the runtime makes places itself. */
const isOfRuntime = (destination: string): boolean =>
  ['/dev/', '/proc/', '/sys/'].some(folder => destination.startsWith(folder))

/** Its root, its other mounts with places for them, and what of both becomes a result. Errors: those of mounting. */
export const prepareRoot = async (preparation: Preparation): Promise<PreparedRoot> => {
  const { tools, step, record, undo } = preparation
  const [first] = step.operation.mounts
  if (first?.kind !== 'bind' || first.target !== '/')
    throw new BerthError('internal', 500, 'a step has no root: its first mount is to be one')
  const { root: rootfs, outputs } = await mountStack(preparation, first)
  const prepared = await prepareMounts(preparation)
  record.mounts = prepared.points
  undo.push('places', () => dropPlaces(tools.engine, record.id))
  bindSubpaths(tools.engine, record.id, record.mounts)
  await bindMappedMounts(tools.engine, record, { rootfs, signal: step.signal })
  const wanted = withPlaces(tools.engine, record)
    .mounts.filter(({ destination }) => !isOfRuntime(destination))
    .map(point => ({ destination: point.destination, isDirectory: isFolder(point) }))
  const places = first.readOnly
    ? { [Symbol.dispose]: () => {} }
    : makePlaces(rootfs, wanted, record.idMaps && rootOf(record.idMaps))
  return { rootfs, outputs: [...outputs, ...prepared.outputs], places }
}
