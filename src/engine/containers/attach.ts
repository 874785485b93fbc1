import { badRequest, conflict } from '../../core/errors.ts'
import type { LogCursor } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { parseDetachKeys } from './detachKeys.ts'
import { compressRotated } from './logs/budget.ts'
import type { LogOptions } from './logs/format.ts'
import { openLog, readCompressed } from './logs/read.ts'
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

/** A log from its beginning, without anything that Docker's attach does not show. */
const wholeLog = ({ stdout, stderr, raw }: AttachOptions): LogOptions => ({
  ...{ stdout, stderr, since: undefined, until: undefined, tail: undefined },
  ...{ timestamps: false, details: false, follow: false, raw: raw ?? false },
})

/** Gives a client those files of the log that a monitor cannot read; where it is to go on is undefined where nothing was ever logged. */
const replayCompressed = async (
  engine: Engine,
  container: Container,
  { client, options }: PendingAttach,
): Promise<LogCursor | undefined> => {
  const left = new AbortController()
  client.onGone(() => left.abort())
  const replay = readCompressed(engine, container, wholeLog(options), left.signal)
  for (;;) {
    const { done, value } = await replay.next()
    if (done) return value
    await client.write(value)
  }
}

/** Hands a client over with the log before the output. Uncompressed files stay so until the monitor has them. */
const attachWithLog = async (engine: Engine, container: Container, pending: PendingAttach): Promise<void> => {
  const { compressions, replaying } = engine.logLedger
  // What waits for a start must find the files as they are now.
  if (!container.isAlive) await compressions.get(container.id)?.done
  replaying.set(container.id, (replaying.get(container.id) ?? 0) + 1)
  try {
    const from = await replayCompressed(engine, container, pending)
    await join(container, { ...pending, ...(from ? { from } : {}) })
  } finally {
    const others = (replaying.get(container.id) ?? 1) - 1
    if (others > 0) replaying.set(container.id, others)
    else replaying.delete(container.id)
    compressRotated(engine, container)
  }
}

/** Whoever waits and has left since: nothing is read from them that would tell. So at most one stays. */
const dropGone = (container: Container): void => {
  const { gone = [], waiting = [] } = Object.groupBy(container.attaching, ({ client }) =>
    client.isGone ? 'gone' : 'waiting',
  )
  container.attaching = waiting
  for (const { client } of gone) client.end()
}

/** To the monitor, or to those that wait for one. */
const join = async (container: Container, pending: PendingAttach): Promise<void> => {
  if (container.monitor && container.isAlive) return handOver(container, pending)
  dropGone(container)
  container.attaching.push(pending)
  pending.client.onGone(() => {
    container.attaching = container.attaching.filter(entry => entry !== pending)
  })
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
  if (container.record.state.status === 'restarting')
    throw conflict(`container ${container.id} is restarting, wait until the container is running`)
  if (container.removing) throw conflict(`container ${container.id} is being removed`)
  if (!options.stream) return printLog(engine, container, options, accept)
  const pending: PendingAttach = { client: await accept(), options }
  containerEvent(engine, container, 'attach')
  return options.logs ? attachWithLog(engine, container, pending) : join(container, pending)
}

/** `logs=1&stream=0`: what was logged up to now, and no more. */
const printLog = async (
  engine: Engine,
  container: Container,
  options: AttachOptions,
  accept: () => Promise<RawClient>,
): Promise<void> => {
  const left = new AbortController()
  await using log = await openLog(engine, container, wholeLog(options), left.signal)
  const client = await accept()
  client.onGone(() => left.abort())
  for await (const bytes of log.batches()) await client.write(bytes)
  client.end()
}

/** Ends clients that waited for a start that will not come. */
export const dropPending = (container: Container): void => {
  for (const { client } of container.attaching.splice(0)) client.end()
}
