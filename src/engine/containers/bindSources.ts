import { chown, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BerthError, badRequest, hasCode } from '../../core/errors.ts'
import { Gate } from '../../core/queue.ts'
import { callApart } from '../../linux/apart.ts'
import { isCached } from '../../linux/files.ts'
import { hangingMountOf, hangingMountsOf } from '../../linux/hangingMounts.ts'
import { rootOf } from '../../linux/idMaps.ts'
import type { MountInfo } from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/**
 * Sources of bind mounts. One on a file system that can hang is looked at by a
 * process of its own, so that it takes no thread of the daemon with it; the
 * operation waits as long as its mount does, or until it is cancelled.
 */

/** Processes that wait for one mount at a time; a killed one that hangs on keeps its place. */
const atOnce = 4
const gates = new Map<string, Gate>()

const gateOf = (mount: MountInfo): Gate => {
  const gate = gates.get(mount.target) ?? new Gate(atOnce)
  gates.set(mount.target, gate)
  return gate
}

interface Question {
  path: string
  /** Make a directory where nothing is, and whose that is then; false for not. */
  make: { uid: number; gid: number } | false
}

const reach = (
  engine: Engine,
  mount: MountInfo,
  { path, make, operation }: Question & { operation: Operation },
): Promise<string> => {
  const { signal } = operation
  operation.at(`waiting for the file system at ${mount.target} (${mount.type})`)
  const args = make ? [path, 'make', `${make.uid}`, `${make.gid}`] : [path]
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    void gateOf(mount)
      .run(async () => {
        if (signal.aborted) return
        const command = [engine.settings.monitorBinary, 'reach', ...args] as const
        const { answer, ended } = callApart({ command, who: 'the process that looks at it' }, signal)
        answer.then(resolve, reject)
        await ended
      })
      .catch(reject)
  })
}

/** Those above it that are missing, too. */
const makeFor = async (directory: string, { uid, gid }: { uid: number; gid: number }): Promise<void> => {
  const first = await mkdir(directory, { recursive: true, mode: 0o755 })
  if (first === undefined || (uid === 0 && gid === 0)) return
  for (let made = directory; ; made = dirname(made)) {
    await chown(made, uid, gid)
    if (made === first || made === '/') return
  }
}

/** Errno's name of a look at it by this process; '' where something is there. */
const lookDirectly = async ({ path, make }: Question): Promise<string> => {
  try {
    await stat(path)
    return ''
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  if (!make) return 'ENOENT'
  await makeFor(path, make)
  return ''
}

const prepareSource = async (
  engine: Engine,
  mount: MountPoint,
  { record, operation }: { record: ContainerRecord; operation: Operation },
): Promise<void> => {
  const owner = record.idMaps ? rootOf(record.idMaps) : { uid: 0, gid: 0 }
  const question: Question = { path: mount.source, make: mount.createSource && owner }
  const hanging = hangingMountOf(mount.source)
  const found = hanging
    ? await reach(engine, hanging, { ...question, operation })
    : await lookDirectly(question)
  if (found === 'ENOENT')
    throw badRequest(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`)
  if (found !== '') throw unusable(mount.source, found, hanging)
}

const unusable = (source: string, code: string, mount: MountInfo | undefined): BerthError =>
  new BerthError(
    'bind-source',
    500,
    `cannot use the bind source ${source}: ${code}${mount ? ` from the file system at ${mount.target} (${mount.type}); see whether its server or program runs` : ''}`,
  )

/**
 * Makes the missing host directories of `-v` mounts. `certain`: each one's file
 * system has answered, else what the kernel remembers is enough. Errors:
 * `bad-request` where a `--mount` source is missing.
 */
export const prepareBindSources = async (
  engine: Engine,
  record: ContainerRecord,
  { operation, certain }: { operation: Operation; certain: boolean },
): Promise<void> => {
  for (const mount of record.mounts) {
    if (mount.type !== 'bind' || (!certain && isCached(mount.source))) continue
    await prepareSource(engine, mount, { record, operation })
  }
  await reachDevices(engine, record, operation)
}

/** At create: sources that nobody would make must be there. Errors: `bad-request` in Docker's words. */
export const checkBindSources = async (
  engine: Engine,
  record: ContainerRecord,
  operation: Operation,
): Promise<void> => {
  for (const mount of record.mounts) {
    if (mount.type !== 'bind' || mount.createSource || isCached(mount.source)) continue
    await prepareSource(engine, mount, { record, operation })
  }
}

/** Waits until the file system at a path has answered, where it can hang; whatever it answered. */
export const reachPath = async (engine: Engine, path: string, operation: Operation): Promise<void> => {
  const hanging = hangingMountOf(path)
  if (hanging) await reach(engine, hanging, { path, make: false, operation })
}

/** Waits until each device's file system has answered; whatever it answered. */
const reachDevices = async (engine: Engine, record: ContainerRecord, operation: Operation): Promise<void> => {
  for (const { PathOnHost: path = '' } of record.hostConfig.Devices ?? []) {
    const hanging = isCached(path) ? undefined : hangingMountOf(path)
    if (hanging) await reach(engine, hanging, { path, make: false, operation })
  }
}

/** Waits until each of a running container's mounts that can hang has answered; whatever it answered. */
export const reachMounts = async (engine: Engine, pid: number, operation: Operation): Promise<void> => {
  for (const mount of hangingMountsOf(pid))
    await reach(engine, mount, { path: `/proc/${pid}/root${mount.target}`, make: false, operation })
}
