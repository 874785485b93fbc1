import type { WorkerPool } from '../../archive/pool.ts'
import { badRequest, internal, messageOf } from '../../core/errors.ts'
import type { ContainerRecord, MountPoint } from './types.ts'

/** `z` and `Z`: what is mounted gets the label of the container's files, where the host has SELinux. */

/** Directories of the host itself: with a container's label on them the host's own services would fail. */
const hostsOwn = new Set(
  `/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin
  /srv /sys /tmp /usr /var /var/lib /var/log`.split(/\s+/),
)

export interface Relabeling {
  source: string
  label: string
}

/** `user:role:type:s0`: without the categories that keep one container from another. */
const sharedLabel = (label: string): string => [...label.split(':').slice(0, 3), 's0'].join(':')

const asked = ({ type, mode }: MountPoint): 'shared' | 'own' | undefined => {
  if (type !== 'bind' && type !== 'volume') return undefined
  const words = mode.split(',')
  return words.includes('z') ? 'shared' : words.includes('Z') ? 'own' : undefined
}

/** What is to be labelled for a container; none where it has no label. Errors: `bad-request` in Docker's words. */
export const relabelings = (mounts: readonly MountPoint[], label: string | undefined): Relabeling[] => {
  if (!label) return []
  return mounts.flatMap(mount => {
    const how = asked(mount)
    if (!how) return []
    if (hostsOwn.has(mount.source))
      throw badRequest(
        `error setting label on mount source '${mount.source}': SELinux relabeling of ${mount.source} is not allowed`,
      )
    return [{ source: mount.source, label: how === 'shared' ? sharedLabel(label) : label }]
  })
}

/** Errors: `internal` where a label cannot be set; a file system without labels is none. */
export const relabelMounts = async (
  pool: WorkerPool,
  { mounts, selinux }: Pick<ContainerRecord, 'mounts' | 'selinux'>,
  signal: AbortSignal,
): Promise<void> => {
  for (const task of relabelings(mounts, selinux?.mount))
    try {
      await pool.run('relabel', task, { signal })
    } catch (error) {
      throw internal(`error setting label on mount source '${task.source}': ${messageOf(error)}`, error)
    }
}
