import { closeSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { EngineSettings } from '../engine/settings.ts'
import { isMountRoot, MS_BIND, makeHiddenMount, mount } from '../linux/mount.ts'
import { isPinned } from '../linux/namespace.ts'
import { withNamespaceHelper } from '../linux/namespaceHelper.ts'

/**
 * The mount namespace with nothing in it that each runtime's own begins with:
 * a copy of the host's would hold the mounts of all other containers.
 */
export const prepareBareNamespace = async (settings: EngineSettings, log: Log): Promise<void> => {
  // What is brought into a view must not come back to the host.
  if (!isMountRoot(settings.execRoot)) return
  const folder = path.join(settings.execRoot, 'bare')
  const file = path.join(folder, 'mnt')
  try {
    if (!isPinned(file)) {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      makeHiddenMount(folder)
      closeSync(openSync(file, 'w', 0o400))
      await withNamespaceHelper([settings.monitorBinary, 'bare'], pid =>
        mount({ source: `/proc/${pid}/ns/mnt`, target: file, flags: MS_BIND }),
      )
    }
    settings.bareNamespace = file
  } catch (error) {
    log.warn('runtimes see the mounts of all containers, and take longer the more there are', {
      error: messageOf(error),
    })
  }
}
