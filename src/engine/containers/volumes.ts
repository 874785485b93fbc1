import { execFile } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { hasCode, internal, messageOf } from '../../core/errors.ts'
import { newId, nonce } from '../../core/ids.ts'
import { closeFd, O_DIRECTORY, O_RDONLY, openIn } from '../../linux/files.ts'
import type { Put } from '../../store/database.ts'
import type { Engine } from '../engine.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/**
 * Anonymous volumes: a directory below `<data-root>/volumes` for each `VOLUME`
 * of an image, made with its container, filled from the image, and removed by
 * `rm -v` and `--rm`.
 */
export interface VolumeRecord {
  name: string
  /** The container it was made for. */
  container: string
}

const kind = 'volume'
const copy = promisify(execFile)

const folder = (engine: Engine): string => path.join(engine.settings.dataRoot, 'volumes')
const dataPath = (engine: Engine, name: string): string => path.join(folder(engine), name, '_data')

const openContained = (root: string, inside: string): number | undefined => {
  const rootFd = openSync(root, 'r')
  try {
    return openIn(rootFd, inside.replace(/^\/+/, ''), { flags: O_RDONLY | O_DIRECTORY })
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
    throw error
  } finally {
    closeSync(rootFd)
  }
}

/** Copies what the image has at the mount's place: owners, modes, times, xattrs, links, holes. */
const copyUp = async (rootfs: string, mount: MountPoint, signal: AbortSignal): Promise<void> => {
  const source = openContained(rootfs, mount.destination)
  if (source === undefined) return
  const from = `/proc/${process.pid}/fd/${source}/.`
  try {
    await copy('cp', ['-a', '--reflink=auto', '--sparse=auto', '--', from, mount.source], { signal })
  } catch (error) {
    throw internal(
      `cannot fill the volume for ${mount.destination} from the image: ${messageOf(error)}`,
      error,
    )
  } finally {
    closeFd(source)
  }
}

/** Makes the directories of a container's anonymous volumes; their records come with the container's own. */
export const prepareVolumes = async (
  engine: Engine,
  record: ContainerRecord,
  signal: AbortSignal,
): Promise<void> => {
  const volumes = record.mounts.filter(mount => mount.type === 'volume')
  if (volumes.length === 0) return
  const rootfs = await engine.uppers.mount(record.id)
  for (const mount of volumes) {
    mount.name = newId()
    mount.source = dataPath(engine, mount.name)
    await mkdir(mount.source, { recursive: true, mode: 0o755 })
    if (mount.copyUp) await copyUp(rootfs, mount, signal)
  }
  await engine.uppers.unmount(record.id)
}

/** The documents to write (or, with `remove`, to drop) in one transaction with the container's own. */
export const volumePuts = (record: ContainerRecord, remove = false): Put[] =>
  record.mounts
    .filter(mount => mount.type === 'volume')
    .map(mount => {
      const value: VolumeRecord | undefined = remove ? undefined : { name: mount.name, container: record.id }
      return { kind, id: mount.name, value }
    })

const discard = async (engine: Engine, name: string): Promise<void> => {
  const trash = path.join(folder(engine), `.removed-${nonce()}`)
  try {
    await rename(path.join(folder(engine), name), trash)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  await rm(trash, { recursive: true, force: true })
}

/** Removes the directories of a container's volumes. Idempotent. */
export const removeVolumes = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  for (const mount of record.mounts)
    if (mount.type === 'volume' && mount.name) await discard(engine, mount.name)
}

/** Removes directories that no record owns: what a crash left of a create or a removal. */
export const recoverVolumes = async (engine: Engine): Promise<void> => {
  await mkdir(folder(engine), { recursive: true, mode: 0o701 })
  const known = new Set((await engine.database.load(kind)).map(({ id }) => id))
  for (const name of await readdir(folder(engine))) {
    if (known.has(name)) continue
    engine.log.info('removing a volume directory without an owner', { volume: name })
    await rm(path.join(folder(engine), name), { recursive: true, force: true })
  }
}
