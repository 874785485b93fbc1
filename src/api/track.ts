import type { Container } from '../engine/containers/container.ts'
import type { Operation, Requester, Subject } from '../engine/operations.ts'
import { type Peer, peerOf, processName, subjectOf } from './peer.ts'
import type { Call } from './route.ts'

/** Requests that may take long, as operations that are listed and can be cancelled. */

export interface Tracked {
  verb: string
  subject: Subject
  /** Where the client's going ends it, too. */
  endsWithClient?: boolean
}

const who = (peer: Peer): Pick<Requester, 'remote' | 'process' | 'subject'> => {
  if (peer.kind === 'unix') {
    const { uid, pid } = peer
    return { remote: 'unix', process: { uid, pid, name: processName(peer) } }
  }
  const subject = subjectOf(peer)
  return { remote: peer.address, ...(subject ? { subject } : {}) }
}

export const requesterOf = ({ req }: Pick<Call, 'req'>): Requester => {
  const requestId = req.headers['x-request-id']
  return {
    ...who(peerOf(req.socket)),
    agent: req.headers['user-agent'] ?? '',
    requestId: typeof requestId === 'string' ? requestId : '',
  }
}

export const onContainer = (verb: string, { id, record }: Container): Tracked => ({
  verb,
  subject: { type: 'container', id, name: record.name },
})

/** Runs `work` as an operation. Whatever a cancelled one fails with, its client is told that it was cancelled. */
export const tracked = async <T>(
  call: Call,
  { endsWithClient, ...what }: Tracked,
  work: (operation: Operation) => Promise<T>,
): Promise<T> => {
  using operation = call.engine.operations.begin({ ...what, requester: requesterOf(call) })
  if (endsWithClient) operation.endWith(call.signal)
  try {
    return await work(operation)
  } catch (error) {
    throw operation.signal.aborted ? operation.signal.reason : error
  }
}
