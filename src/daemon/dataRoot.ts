import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { BerthError, badRequest, hasCode } from '../core/errors.ts'
import type { EngineSettings } from '../engine/settings.ts'
import { sys } from '../linux/ffi.ts'
import { rootOf } from '../linux/idMaps.ts'
import { isMountRoot, MS_NODEV, MS_NOSUID, makePrivateMount, mount, readMounts } from '../linux/mount.ts'
import type { DaemonSettings } from './settings.ts'

/** The two folders of a daemon: one owner at a time, and exec-root on memory. */

const flock = sys('int flock(int fd, int operation)')
const tmpfsMagic = 0x01021994
/** Longer than any process id. */
const pidWidth = 12
const LOCK_EX = 2
const LOCK_NB = 4

/** Takes the data root for this process; the lock ends with the process, however that ends. Errors: `data-root-in-use`. */
export const lockDataRoot = (settings: DaemonSettings): Disposable => {
  const { dataRoot } = settings.engine
  mkdirSync(dataRoot, { recursive: true, mode: 0o711 })
  const file = path.join(dataRoot, 'lock')
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    flock(fd, LOCK_EX | LOCK_NB)
  } catch (error) {
    closeSync(fd)
    if (!hasCode(error, 'EAGAIN')) throw error
    const holder = readFileSync(file, 'utf8').trim()
    throw new BerthError(
      'data-root-in-use',
      500,
      `the data root ${dataRoot} is in use by berthd with process id ${holder}: stop it, or give another --data-root`,
    )
  }
  // In place: a file that was cut first needs a new block, which a full disk does not have.
  writeSync(fd, `${process.pid}\n`.padStart(pidWidth), 0)
  return { [Symbol.dispose]: () => closeSync(fd) }
}

/** Of what is there yet: runtimes go to a container's root as the user that root of its user namespace is. Errors: `bad-request` where that is not let through. */
export const checkWayToRoots = ({ execRoot, idMaps }: EngineSettings): void => {
  if (!idMaps) return
  const { uid, gid } = rootOf(idMaps)
  for (let folder = execRoot; ; folder = path.dirname(folder)) {
    const found = statSync(folder, { throwIfNoEntry: false })
    const allowed = (found?.uid === uid ? 0o100 : 0) | (found?.gid === gid ? 0o010 : 0) | 0o001
    if (found && (found.mode & allowed) === 0)
      throw badRequest(
        `the folder ${folder}, which --exec-root ${execRoot} lies in, restricts access to the remapped root uid/gid ${uid}:${gid}: allow it with chmod o+x ${folder}, or give another --exec-root`,
      )
    if (folder === '/') return
  }
}

/**
 * Makes exec-root, a tmpfs where it is not on one: what it holds must not outlive the host's boot. It is a private
 * mount of its own, so that what is mounted in it is seen in no other namespace, nor what is mounted there in it.
 */
export const prepareExecRoot = (settings: DaemonSettings): void => {
  const { execRoot } = settings.engine
  mkdirSync(execRoot, { recursive: true, mode: 0o711 })
  if (statfsSync(execRoot).type !== tmpfsMagic)
    mount({
      source: 'tmpfs',
      target: execRoot,
      type: 'tmpfs',
      flags: MS_NOSUID | MS_NODEV,
      data: 'mode=0711',
    })
  // Mounts in a folder that is none itself are those of a daemon that made none of it yet: they must stay in sight.
  if (isMountRoot(execRoot) || !readMounts().some(({ target }) => target.startsWith(`${execRoot}/`)))
    makePrivateMount(execRoot)
}
