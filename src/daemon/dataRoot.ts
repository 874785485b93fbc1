import { closeSync, constants, mkdirSync, openSync, readFileSync, statfsSync, writeSync } from 'node:fs'
import path from 'node:path'
import { BerthError, hasCode } from '../core/errors.ts'
import { sys } from '../linux/ffi.ts'
import { MS_NODEV, MS_NOSUID, mount } from '../linux/mount.ts'
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

/** Makes exec-root, a tmpfs where it is not on one: what it holds must not outlive the host's boot. */
export const prepareExecRoot = (settings: DaemonSettings): void => {
  const { execRoot } = settings.engine
  mkdirSync(execRoot, { recursive: true, mode: 0o711 })
  if (statfsSync(execRoot).type === tmpfsMagic) return
  mount({ source: 'tmpfs', target: execRoot, type: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data: 'mode=0711' })
}
