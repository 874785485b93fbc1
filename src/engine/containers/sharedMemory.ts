import { mkdirSync, rmdirSync } from 'node:fs'
import { hasCode } from '../../core/errors.ts'
import { rootOf } from '../../linux/idMaps.ts'
import { isMountRoot, MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, unmount } from '../../linux/mount.ts'
import { defaultShmSize } from '../../runtime/spec/defaults.ts'
import type { Engine } from '../engine.ts'
import { sharedShm } from './files.ts'
import type { ContainerRecord } from './types.ts'

/** The `/dev/shm` of a shareable IPC namespace: a tmpfs on the host, so that several containers can have it. */
export const mountSharedShm = (engine: Engine, record: ContainerRecord): void => {
  if (record.hostConfig.IpcMode !== 'shareable') return
  const target = sharedShm(engine, record.id)
  mkdirSync(target, { recursive: true, mode: 0o700 })
  if (isMountRoot(target)) return
  const size = record.hostConfig.ShmSize || defaultShmSize
  const context = record.selinux ? `,context="${record.selinux.mount}"` : ''
  const { uid, gid } = record.idMaps ? rootOf(record.idMaps) : { uid: 0, gid: 0 }
  mount({
    source: 'shm',
    target,
    type: 'tmpfs',
    flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
    data: `mode=1777,uid=${uid},gid=${gid},size=${size}${context}`,
  })
}

/** Idempotent. */
export const unmountSharedShm = (engine: Engine, id: string): void => {
  const target = sharedShm(engine, id)
  if (isMountRoot(target)) unmount(target, MNT_DETACH)
  try {
    rmdirSync(target)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
