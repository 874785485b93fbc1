import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { monitorScope } from '../engine/containers/groups.ts'
import type { EngineSettings } from '../engine/settings.ts'
import { openScope } from '../linux/systemd.ts'

/**
 * Where systemd makes the control groups, it is told of the monitors' group: as
 * a scope of its own it is not stopped with the daemon's unit, whatever the
 * unit's KillMode, and at the host's shutdown not before the daemon has stopped
 * the containers. The descriptor store, which is in it, keeps it alive.
 */
export const claimMonitorScope = async (settings: EngineSettings, pid: number, log: Log): Promise<void> => {
  if (settings.cgroupDriver !== 'systemd') return
  try {
    await openScope({
      name: monitorScope(settings),
      slice: settings.cgroupParent,
      description: 'Monitors of the containers of Berth',
      pid,
      stoppedAfter: settings.unit === '' ? [] : [settings.unit],
    })
  } catch (error) {
    log.warn('systemd made no scope for the monitors; they run in a control group that it does not know', {
      error: messageOf(error),
    })
  }
}
