import { badRequest, conflict } from '../../core/errors.ts'
import type { LogCursor } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { parseDetachKeys } from './detachKeys.ts'
import { logPath } from './logConfig.ts'
import { listLogFiles } from './logs/files.ts'
import { readLogs } from './logs/read.ts'
import type { RawClient } from './rawClient.ts'

/** `POST /containers/{id}/attach` */
export interface AttachOptions {
  stream: boolean
  stdin: boolean
  stdout: boolean
  stderr: boolean
  /** Replay the log first. */
  logs: boolean
  /** Output goes out without frames even where there are two streams (websockets). */
  raw?: true
  /** Undefined is Docker's default. */
  detachKeys: string | undefined
}

/** A client that came before the start: handed to the monitor as soon as there is one. */
export interface PendingAttach {
  client: RawClient
  options: AttachOptions
  /** Where its replay of the log begins; absent without one. */
  from?: LogCursor
}

/** Gives one client to the container's monitor, and lets go of it here. */
export const handOver = async (
  container: Container,
  { client, options, from }: PendingAttach,
): Promise<void> => {
  const { monitor, record } = container
  if (!monitor) throw conflict(`container ${container.id} is not running`)
  await monitor.attach({
    fd: client.fd,
    stdin: options.stdin && (record.config.OpenStdin ?? false),
    stdout: options.stdout,
    stderr: options.stderr,
    multiplexed: !record.config.Tty && !options.raw,
    pending: client.pending,
    detachKeys: parseDetachKeys(options.detachKeys),
    ...(from ? { from } : {}),
  })
  client.release()
}

/** The beginning of the oldest file that is there; undefined where nothing was ever logged. */
const oldestLog = async (engine: Engine, { record }: Container): Promise<LogCursor | undefined> => {
  const [oldest] = await listLogFiles(logPath(engine.settings.dataRoot, record.id))
  return oldest && { sequence: oldest.sequence, offset: 0 }
}

/**
 * Attaches a client. `accept` answers its request and takes the connection
 * over; it is called only once nothing can be refused any more. On a container
 * that does not run yet, the client waits for the start.
 */
export const attachContainer = async (
  engine: Engine,
  container: Container,
  options: AttachOptions,
  accept: () => Promise<RawClient>,
): Promise<void> => {
  parseDetachKeys(options.detachKeys)
  if (!options.stream && !options.logs) throw badRequest('must select at least one of stream and logs')
  if (container.record.state.status === 'paused')
    throw conflict(`container ${container.id} is paused, unpause the container before attach`)
  if (container.removing) throw conflict(`container ${container.id} is being removed`)
  if (!options.stream) return printLog(engine, container, options, await accept())
  const from = options.logs ? await oldestLog(engine, container) : undefined
  const pending: PendingAttach = { client: await accept(), options, ...(from ? { from } : {}) }
  containerEvent(engine, container, 'attach')
  if (container.monitor && container.isAlive) return handOver(container, pending)
  container.attaching.push(pending)
  pending.client.onGone(() => {
    container.attaching = container.attaching.filter(entry => entry !== pending)
  })
}

/** `logs=1&stream=0`: what was logged up to now, and no more. */
const printLog = async (
  engine: Engine,
  container: Container,
  { stdout, stderr, raw }: AttachOptions,
  client: RawClient,
): Promise<void> => {
  const left = new AbortController()
  client.onGone(() => left.abort())
  const wanted = { stdout, stderr, since: undefined, until: undefined, tail: undefined }
  const plain = { timestamps: false, details: false, follow: false, raw: raw ?? false }
  for await (const bytes of readLogs(engine, container, { ...wanted, ...plain }, left.signal))
    await client.write(bytes)
  client.end()
}

/** Ends clients that waited for a start that will not come. */
export const dropPending = (container: Container): void => {
  for (const { client } of container.attaching.splice(0)) client.end()
}
