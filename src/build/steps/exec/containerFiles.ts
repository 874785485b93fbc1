import { readFileSync } from 'node:fs'
import { badRequest, notFound } from '../../../core/errors.ts'
import { withPlaces } from '../../../engine/containers/boundPlaces.ts'
import type { ContainerRecord } from '../../../engine/containers/types.ts'
import type { Engine } from '../../../engine/engine.ts'
import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, openAt, openIn, owned } from '../../../linux/files.ts'
import type { ExecMount } from '../../graph/types.ts'
import { isFolder } from './mounts.ts'

export interface MountedFiles {
  engine: Engine
  /** With the mounts as they are prepared. */
  record: ContainerRecord
  rootfs: string
  /** As the client numbers them. */
  mounts: readonly ExecMount[]
  /** Of the first process; 0 where none runs. */
  pid: number
}

/** A number may be another process's by now; the group is told of the one whose root was opened before. */
const isOf = (pid: number, id: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(id)
  } catch {
    return false
  }
}

/** What is on memory is seen in the container alone. */
const openInside = ({ pid, record }: MountedFiles, target: string): { fd: number } & Disposable => {
  const gone = notFound(`the tmpfs at ${target} is there while the first process of its container runs`)
  if (pid === 0) throw gone
  using root = owned(openAt(AT_FDCWD, `/proc/${pid}/root`, O_PATH | O_DIRECTORY))
  if (!isOf(pid, record.id)) throw gone
  return owned(openIn(root.fd, target, { flags: O_RDONLY | O_DIRECTORY }))
}

/** Where a mount of a container is seen as it is now. Errors: `bad-request`, `not-found`. */
export const lookAt = async <T>(
  files: MountedFiles,
  index: number,
  work: (root: string) => T | Promise<T>,
): Promise<T> => {
  const { engine, record, rootfs, mounts } = files
  const mount = mounts[index]
  if (!mount) throw badRequest(`mount index ${index} is out of bounds (${mounts.length} available)`)
  const { kind, target } = mount
  if (target === '/') return await work(rootfs)
  if (kind === 'tmpfs') {
    using folder = openInside(files, target)
    return await work(`/proc/self/fd/${folder.fd}`)
  }
  const point = withPlaces(engine, record).mounts.findLast(({ destination }) => destination === target)
  if (!point) throw notFound(`nothing is mounted at ${target}`)
  if (!isFolder(point)) throw badRequest(`what is mounted at ${target} is no directory`)
  return await work(point.source)
}
