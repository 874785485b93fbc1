import { alarmAfter } from '../core/alarm.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Engine } from '../engine/engine.ts'
import { notifySystemd, takeNotifySocket } from '../linux/notify.ts'

/** What systemd is told while the daemon runs: sd_notify(3), sd_watchdog_enabled(3). */

/** Milliseconds within which systemd wants a sign of life; undefined where it wants none of this process. */
export const watchdogInterval = (
  env: Record<string, string | undefined>,
  pid: number,
): number | undefined => {
  const micros = Number(env['WATCHDOG_USEC'] ?? 0)
  const meant = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === pid
  return meant && micros > 0 ? micros / 1000 : undefined
}

/** systemd that is not there to listen is no reason to end. */
const tell = (state: string, log: Log): void => {
  try {
    notifySystemd(state)
  } catch (error) {
    log.warn('systemd could not be told how things stand', { error: messageOf(error) })
  }
}

const statusOf = (engine: Engine): string => {
  const all = engine.containers.all()
  const running = all.filter(container => container.isRunning).length
  return `STATUS=${running} of ${all.length} containers running`
}

/** Signs of life that come from where all work is done: a loop that hangs sends none, nor one whose database does not answer. */
const keepWatchdog = (engine: Engine, interval: number, log: Log): Disposable => {
  let next: Disposable | undefined
  let ended = false
  const beat = async (): Promise<void> => {
    try {
      await engine.database.load('schema')
      if (!ended) tell('WATCHDOG=1', log)
    } catch (error) {
      log.error('no sign of life to the watchdog', { error: messageOf(error) })
    }
    if (!ended) next = alarmAfter(interval / 2, () => void beat())
  }
  void beat()
  return {
    [Symbol.dispose]: () => {
      ended = true
      next?.[Symbol.dispose]()
    },
  }
}

/** `systemctl status` shows how many containers run, whenever that changed. */
const keepStatus = (engine: Engine, log: Log): Disposable => {
  let told = ''
  const update = (): void => {
    const status = statusOf(engine)
    if (status === told) return
    told = status
    tell(status, log)
  }
  let due = false
  const soon = (): void => {
    if (due) return
    due = true
    alarmAfter(1000, () => {
      due = false
      update()
    })
  }
  update()
  return engine.events.subscribe(({ Type }) => {
    if (Type === 'container') soon()
  })
}

/** What systemd asked for when it started the daemon. */
export interface SystemdRequest {
  /** It wants to be told. */
  isListening: boolean
  /** Milliseconds. */
  watchdog: number | undefined
}

/** Taken once, out of the environment: no program that is started here is asked for it, too. */
export const takeSystemdRequest = (): SystemdRequest => {
  const { env, pid } = process
  const request = { isListening: Boolean(env['NOTIFY_SOCKET']), watchdog: watchdogInterval(env, pid) }
  takeNotifySocket()
  for (const name of ['WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
  return request
}

/** Does nothing where systemd did not ask. */
export const keepSystemdInformed = (
  engine: Engine,
  log: Log,
  { isListening, watchdog }: SystemdRequest,
): Disposable => {
  const stack = new DisposableStack()
  if (!isListening) return stack
  if (watchdog !== undefined) stack.use(keepWatchdog(engine, watchdog, log))
  stack.use(keepStatus(engine, log))
  return stack
}

/** Tells systemd that the options are being read again, and, by the result, that this has ended. */
export const announceReload = (log: Log): Disposable => {
  const micros = process.hrtime.bigint() / 1000n
  tell(`RELOADING=1\nMONOTONIC_USEC=${micros}`, log)
  return { [Symbol.dispose]: () => tell('READY=1', log) }
}
