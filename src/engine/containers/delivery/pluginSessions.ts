import { closeSync, constants, mkdirSync, rmSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, messageOf, unavailable } from '../../../core/errors.ts'
import { nonce } from '../../../core/ids.ts'
import {
  AT_FDCWD,
  makeNodeAt,
  namesIn,
  O_NONBLOCK,
  O_WRONLY,
  openAt,
  unreadBytes,
} from '../../../linux/files.ts'
import type { Engine } from '../../engine.ts'
import type { Wire, WireOptions } from './types.ts'
import { orAborted } from './wire.ts'

/**
 * Sessions of log plugins: a FIFO that the plugin reads from `StartLogging` to
 * `StopLogging`. Its file is there until the plugin has been told of its end,
 * so that a session which a daemon did not end is ended by the next.
 */
interface Session {
  driver: string
  file: string
}

/** Milliseconds that a plugin may take to answer, to open its FIFO, and to read what is in it at the end. */
const deadline = 10_000
const opening = 10_000
const draining = 2000
const longestPause = 200

const folderOf = (engine: Engine): string => path.join(engine.settings.execRoot, 'logging')

const sessionsOf = (engine: Engine, driver: string): Session[] => {
  const folder = path.join(folderOf(engine), driver)
  return namesIn(folder).map(name => ({ driver, file: path.join(folder, name) }))
}

/** A plugin that waits in its `open` for a writer would do so for ever. */
const releaseReader = (file: string): void => {
  try {
    closeSync(openAt(AT_FDCWD, file, O_WRONLY | O_NONBLOCK))
  } catch (error) {
    if (!hasCode(error, 'ENXIO') && !hasCode(error, 'ENOENT')) throw error
  }
}

/** Errors: `plugin-unreachable`; what the plugin answers changes nothing. */
const stopLogging = async (
  engine: Engine,
  { driver, file }: Session,
  signal?: AbortSignal,
): Promise<void> => {
  releaseReader(file)
  try {
    const how = signal ? { signal } : {}
    const plugin = await engine.plugins.get(driver, 'LogDriver', how)
    await plugin.call('LogDriver.StopLogging', { File: file }, { ...how, deadline })
  } catch (error) {
    if (!hasCode(error, 'plugin-error')) throw error
  }
  rmSync(file, { force: true })
}

/** One that cannot be told now stays for whoever speaks to the plugin next. */
const endSession = async (engine: Engine, session: Session): Promise<void> => {
  try {
    await stopLogging(engine, session)
  } catch (error) {
    engine.log.debug('a log plugin could not be told of an end', { ...session, error: messageOf(error) })
  }
}

/** At a start of the daemon: ends what the one before it had open. */
export const sweepSessions = (engine: Engine): void => {
  for (const driver of namesIn(folderOf(engine)))
    for (const session of sessionsOf(engine, driver)) void endSession(engine, session)
}

/** A writer without a reader is refused, and nothing tells when one comes: it is tried after a time that grows. */
const openWhenRead = async ({ file, driver }: Session, signal: AbortSignal): Promise<number> => {
  const end = Date.now() + opening
  for (let pause = 2; ; pause = Math.min(longestPause, pause * 2)) {
    signal.throwIfAborted()
    try {
      return openAt(AT_FDCWD, file, O_WRONLY | O_NONBLOCK)
    } catch (error) {
      if (!hasCode(error, 'ENXIO')) throw error
    }
    if (Date.now() > end) throw unavailable(`the log plugin ${driver} does not open ${file}`)
    await sleep(pause, undefined, { signal })
  }
}

/** A plugin that is told of the end may drop what it has not read. */
const drained = async (socket: net.Socket, fd: number): Promise<void> => {
  const end = Date.now() + draining
  for (let pause = 2; !socket.destroyed && Date.now() < end; pause = Math.min(longestPause, pause * 2)) {
    if (socket.writableLength === 0 && unreadBytes(fd) === 0) return
    await sleep(pause)
  }
}

const wireOf = (engine: Engine, session: Session, fd: number, onLost: (error: Error) => void): Wire => {
  const socket = new net.Socket({ fd, readable: false, writable: true })
  socket.on('error', onLost)
  const close = async (): Promise<void> => {
    await drained(socket, fd)
    socket.destroy()
    await endSession(engine, session)
  }
  return {
    send: (messages, signal) => orAborted(done => socket.write(Buffer.concat(messages), done), signal),
    [Symbol.dispose]: () => {
      void close()
    },
  }
}

interface SessionRequest {
  driver: string
  /** The container's. */
  id: string
  info: object
}

/** Errors: those of plugins, `unavailable` where the plugin reads nothing. */
export const openSession = async (
  engine: Engine,
  { driver, id, info }: SessionRequest,
  { signal, onLost }: WireOptions,
): Promise<Wire> => {
  const folder = path.join(folderOf(engine), driver)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const old of sessionsOf(engine, driver))
    if (path.basename(old.file).startsWith(id)) await stopLogging(engine, old, signal)
  const plugin = await engine.plugins.get(driver, 'LogDriver', { signal })
  const session = { driver, file: path.join(folder, `${id}-${nonce()}`) }
  makeNodeAt({ dir: AT_FDCWD, name: session.file }, constants.S_IFIFO | 0o600)
  // The plugin may open its end before it answers, and waits there for ours.
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const started = plugin
    .call('LogDriver.StartLogging', { File: session.file, Info: info }, { signal: either, deadline })
    .catch(error => failed.abort(error))
  try {
    const fd = await openWhenRead(session, either)
    await started
    if (!failed.signal.aborted) return wireOf(engine, session, fd, onLost)
    closeSync(fd)
    throw failed.signal.reason
  } catch (error) {
    failed.abort(error)
    if (hasCode(failed.signal.reason, 'plugin-error')) rmSync(session.file, { force: true })
    else void endSession(engine, session)
    throw failed.signal.reason
  }
}
