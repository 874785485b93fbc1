import { execFile } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { hasCode, internal, messageOf } from '../../core/errors.ts'
import { O_PATH, openIn, owned } from '../../linux/files.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { fillInto, finishFill, openEmpty } from '../volumes/fill.ts'
import { newHome } from '../volumes/homes.ts'
import { plainPlace } from '../volumes/place.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** Copy-up: a volume that is empty gets what the image has at the mount's place, the directory's own owner and mode included. */

const run = promisify(execFile)

/** The image's directory at a mount's place, inside its root whatever links say; undefined where there is none. */
const openSource = (rootfs: string, mount: MountPoint): ({ fd: number } & Disposable) | undefined => {
  const root = openSync(rootfs, 'r')
  try {
    const source = owned(openIn(root, mount.destination.replace(/^\/+/, ''), { flags: O_PATH }))
    if (statSync(`/proc/self/fd/${source.fd}`).isDirectory()) return source
    source[Symbol.dispose]()
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error
    return undefined
  } finally {
    closeSync(root)
  }
  // Docker refuses it of a volume of the image's alone; another mount there fails when the container starts.
  if (!mount.named) throw internal(`cannot mount volume over existing file, file exists ${mount.destination}`)
  return undefined
}

/** Owners, modes, times, extended attributes, links, holes. */
const copyTree = async (from: number, to: string, signal: AbortSignal): Promise<void> => {
  const source = `/proc/${process.pid}/fd/${from}/.`
  await run('cp', ['-a', '--reflink=auto', '--sparse=auto', '--', source, to], { signal })
}

interface Filling {
  /** Volumes that are made with the container, and have no name yet. */
  fresh: ReadonlySet<string>
  operation: Operation
}

/** Fills one from the image's tree. Errors: `internal` that names the place. */
const fillOne = async (
  engine: Engine,
  { rootfs, mount }: { rootfs: string; mount: MountPoint },
  { fresh, operation }: Filling,
): Promise<void> => {
  using source = openSource(rootfs, mount)
  if (!source) return
  const copy = (to: string): Promise<void> => copyTree(source.fd, to, operation.signal)
  try {
    if (fresh.has(mount.name)) await copy(path.join(newHome(engine.volumes, mount.name), '_data'))
    else await fillInto(plainPlace(engine, mount.name), mount.subpath ?? '', copy)
  } catch (error) {
    throw internal(
      `failed to populate volume: ${mount.name} from ${mount.destination} of the image: ${messageOf(error)}`,
      error,
    )
  }
}

const isEmpty = async (engine: Engine, mount: MountPoint, { fresh }: Filling): Promise<boolean> => {
  const place = fresh.has(mount.name)
    ? { ...plainPlace(engine, mount.name), data: path.join(newHome(engine.volumes, mount.name), '_data') }
    : plainPlace(engine, mount.name)
  await finishFill(place)
  using found = openEmpty(place, mount.subpath ?? '')
  return found !== undefined
}

/** Fills those of a new container's volumes that are empty. The caller holds their names. */
export const fillVolumes = async (
  engine: Engine,
  record: ContainerRecord,
  filling: Filling,
): Promise<void> => {
  const wanted = record.mounts.filter(({ type, copyUp }) => type === 'volume' && copyUp)
  let rootfs: string | undefined
  try {
    for (const mount of wanted) {
      if (!(await isEmpty(engine, mount, filling))) continue
      rootfs ??= await engine.uppers.mount(record.id)
      await fillOne(engine, { rootfs, mount }, filling)
      engine.volumeUsage.touch(mount.name)
    }
  } finally {
    if (rootfs !== undefined) await engine.uppers.unmount(record.id)
  }
}
