import { lookup } from 'node:dns/promises'
import { getSystemErrorMap } from 'node:util'
import { abandonable } from '../../core/abort.ts'
import { withAdvice } from '../../core/advice.ts'
import { internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { callApart } from '../../linux/apart.ts'
import { readMounts } from '../../linux/mount.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { describeMount, type MountArguments, machineOf, mountArguments } from './mountOptions.ts'
import { needsMount, type VolumeRecord } from './types.ts'
import { volumesOf } from './users.ts'

/**
 * Mounted volumes: mounted over `_data` when the first who needs it comes, and
 * unmounted when the last has gone. Who that is is looked up each time, never
 * counted, so that it is right after any crash. The path is not touched: its
 * file system may hang.
 */

export const isMounted = (engine: Engine, name: string): boolean => {
  const data = engine.volumes.data(name)
  return readMounts().some(({ target }) => target === data)
}

/** What to do about errnos of a mount, where it differs from the usual. */
const hints: Record<string, string> = {
  ENODEV:
    'the kernel of this host does not know the file system of the option type: load its module (modprobe), or correct the option',
  ENOENT: 'what the option device names is not there: make it, or correct the option',
  ENOTDIR: 'a volume is a directory: the option device must name one',
  ENOTBLK: 'the option device must name a block device',
  EINVAL: 'the file system does not take these options: correct o=, type or device; dmesg may tell more',
  EBUSY: 'the device is in use elsewhere: see what has it mounted',
  EACCES:
    'whoever keeps it refuses: of nfs see what the server exports to this host, of cifs the user name and password in the option o',
  ECONNREFUSED: 'nothing answers at that address: see whether the server runs',
  ETIMEDOUT: 'the server does not answer: see whether it runs, and whether a firewall is between',
  EHOSTUNREACH: 'there is no way to the server: see the network',
  ENETUNREACH: 'there is no way to the server: see the network',
}

const mountFailure = (call: MountArguments, target: string, code: string): Error => {
  const words = [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1].toLowerCase() ?? code
  const text = `error while mounting volume '${target}': failed to mount local volume: ${describeMount(call, target)}: ${words}`
  return internal(hints[code] ? `${text}; ${hints[code]}` : withAdvice(text, code))
}

/** With the address of the machine that is named, which the kernel cannot look up. */
const resolved = async (
  call: MountArguments,
  target: string,
  signal: AbortSignal,
): Promise<MountArguments> => {
  const machine = machineOf(call)
  if (!machine) return call
  try {
    const { address } = await abandonable(signal, lookup(machine.name, { order: 'ipv4first' }))
    return machine.at(address)
  } catch (error) {
    if (signal.aborted) throw error
    throw internal(
      `error while mounting volume '${target}': error resolving passed in network volume address: lookup ${machine.name}: ${messageOf(error)}; correct the name, or give an address`,
      error,
    )
  }
}

/** Mounts it if that is due and not done. The caller holds its name. Errors: `internal` in Docker's words and what to do. */
export const mountHeld = async (
  engine: Engine,
  record: VolumeRecord,
  operation: Operation,
): Promise<void> => {
  if (!needsMount(record) || isMounted(engine, record.name)) return
  const target = engine.volumes.data(record.name)
  const { signal } = operation
  operation.at(`mounting the volume ${record.name}`)
  const call = await resolved(mountArguments(record.options), target, signal)
  failpoint('volume.mount.intended')
  const fields = [call.source, target, call.type, String(call.flags), call.data]
  const { answer, ended } = callApart(
    {
      command: [engine.settings.monitorBinary, 'mount'],
      input: fields.map(field => `${field}\0`).join(''),
      who: 'the process that mounts it',
    },
    signal,
  )
  try {
    const code = await answer
    if (code !== '') throw mountFailure(call, target, code)
  } catch (error) {
    // A killed one may have mounted it all the same.
    if (signal.aborted) void ended.then(() => unmountUnused(engine, record.name))
    throw error
  }
  failpoint('volume.mount.done')
}

const isNeeded = (engine: Engine, name: string, except: string | undefined): boolean =>
  engine.volumes.isLent(name) ||
  engine.containers
    .all()
    .some(container => container.isAlive && container.id !== except && volumesOf(container).includes(name))

/** Unmounts it where nobody needs it but the container `except`. The caller holds its name. */
export const unmountHeld = async (engine: Engine, name: string, except?: string): Promise<void> => {
  if (!isMounted(engine, name) || isNeeded(engine, name, except)) return
  await engine.unmounter.unmountKnown(engine.volumes.data(name))
  failpoint('volume.unmount.done')
}

/** As `unmountHeld`, in its own turn; a failure is logged: whoever needs the volume next takes the mount as it is. */
export const unmountUnused = async (engine: Engine, name: string, except?: string): Promise<void> => {
  try {
    await engine.volumes.exclusively([name], () => unmountHeld(engine, name, except))
  } catch (error) {
    engine.log.error('a volume could not be unmounted', { volume: name, error: messageOf(error) })
  }
}

/** Those of these volumes that are mounted while somebody needs them. */
export const mountedOnes = (engine: Engine, names: readonly string[]): VolumeRecord[] =>
  names.flatMap(name => {
    const record = engine.volumes.find(name)
    return record && needsMount(record) ? [record] : []
  })
