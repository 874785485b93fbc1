import type { MessageInitShape } from '@bufbuild/protobuf'
import { recordFilter } from '../../build/history/filter.ts'
import type { BuildHistory } from '../../build/history/history.ts'
import type { BuildRecord, HistoryEvent } from '../../build/history/types.ts'
import { abandonable } from '../../core/abort.ts'
import { BerthError, badRequest, notImplemented, unlessCode } from '../../core/errors.ts'
import {
  type BuildHistoryEventSchema,
  BuildHistoryEventType,
  type BuildHistoryRequest,
  type UpdateBuildHistoryRequest,
} from '../../wire/buildkit/control_pb.ts'
import { recordMessage } from './historyMessages.ts'

/** Builds that have been, for BuildKit's clients: `buildx history`. */

type EventMessage = MessageInitShape<typeof BuildHistoryEventSchema>

/** Events that wait for a client which does not read. */
const mostWaiting = 10_000

const { STARTED, COMPLETE, DELETED } = BuildHistoryEventType

/** Events from now on, in their order. Errors: the signal's reason, `too-slow`. */
class Heard implements Disposable {
  readonly #waiting: HistoryEvent[] = []
  readonly #listening: Disposable
  #arrived = Promise.withResolvers<void>()
  #hasLost = false

  constructor(history: BuildHistory) {
    this.#listening = history.listen(event => {
      if (this.#waiting.length < mostWaiting) this.#waiting.push(event)
      else this.#hasLost = true
      this.#arrived.resolve()
    })
  }

  async *events(signal: AbortSignal): AsyncGenerator<HistoryEvent> {
    for (;;) {
      await abandonable(signal, this.#arrived.promise)
      this.#arrived = Promise.withResolvers()
      yield* this.#waiting.splice(0)
      if (this.#hasLost)
        throw new BerthError('too-slow', 500, 'the client reads too slowly, and missed events: ask again')
    }
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]()
  }
}

const eventMessage = async (
  history: BuildHistory,
  { kind, ref }: HistoryEvent,
): Promise<EventMessage | undefined> => {
  if (kind === 'deleted') return { type: DELETED, record: { ref } }
  if (kind === 'started') {
    const going = history.running(ref)
    return going && { type: STARTED, record: recordMessage(going.record) }
  }
  // Gone meanwhile: an event tells of that, too.
  const record = await unlessCode(history.record(ref), 'not-found')
  return record && { type: COMPLETE, record: recordMessage(record) }
}

async function* ended(
  history: BuildHistory,
  { ref, filter, limit }: BuildHistoryRequest,
): AsyncGenerator<BuildRecord> {
  if (limit < 0) throw badRequest(`invalid limit ${limit}`)
  const holds = recordFilter(filter)
  let left = limit || Number.POSITIVE_INFINITY
  const records = ref === '' ? history.records() : oneRecord(history, ref)
  for await (const record of records) {
    if (!holds(record)) continue
    yield record
    left -= 1
    if (left === 0) return
  }
}

async function* oneRecord(history: BuildHistory, ref: string): AsyncGenerator<BuildRecord> {
  const record = await unlessCode(history.record(ref), 'not-found')
  if (record) yield record
}

/** What is under way, what was, and then what changes. */
export async function* listenBuildHistory(
  history: BuildHistory,
  request: BuildHistoryRequest,
  signal: AbortSignal,
): AsyncGenerator<EventMessage> {
  using heard = new Heard(history)
  for (const { ref, record } of history.open)
    if (request.ref === '' || request.ref === ref) yield { type: STARTED, record: recordMessage(record) }
  if (!request.activeOnly)
    for await (const record of ended(history, request))
      yield { type: COMPLETE, record: recordMessage(record) }
  if (request.earlyExit) return
  try {
    for await (const event of heard.events(signal)) {
      if (request.ref !== '' && request.ref !== event.ref) continue
      const message = await eventMessage(history, event)
      if (message) yield message
    }
  } catch (error) {
    // Who leaves hears no more, which is no error.
    if (!signal.aborted) throw error
  }
}

/** Errors: `not-found`, `conflict` while the build is under way. */
export const updateBuildHistory = async (
  history: BuildHistory,
  { ref, delete: isDeleted, finalize, pinned }: UpdateBuildHistoryRequest,
): Promise<void> => {
  if (isDeleted) return await history.remove(ref)
  // A record is whole when its build has ended: nothing comes later that there would be to wait for.
  if (finalize) return
  if (history.running(ref)) throw notImplemented('pinning the record of a build that is under way')
  await history.pin(ref, pinned)
}
