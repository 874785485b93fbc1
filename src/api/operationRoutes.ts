import type { Operation, Requester } from '../engine/operations.ts'
import type { Call, Route } from './route.ts'
import { requesterOf } from './track.ts'

/** `/berth/v1/operations`: what is under way, and its cancelling. */

export const requesterJson = ({ remote, agent, requestId, process, subject }: Requester): object => ({
  Remote: remote,
  UserAgent: agent,
  RequestId: requestId,
  Process: process && { Uid: process.uid, Pid: process.pid, Name: process.name },
  Subject: subject,
})

const shown = (operation: Operation): object => {
  const { id, verb, subject, requester, started, step, irrevocable, signal } = operation
  return {
    Id: id,
    Verb: verb,
    Subject: { Type: subject.type, Id: subject.id, Name: subject.name },
    Started: started,
    Step: step,
    Client: requester && requesterJson(requester),
    Cancelled: signal.aborted,
    Irrevocable: irrevocable,
  }
}

const canceller = (call: Call): string => {
  const { agent, remote } = requesterOf(call)
  return call.query.get('by') || `${agent || 'a client'} (${remote})`
}

export const operationRoutes: Route[] = [
  {
    method: 'GET',
    path: '/berth/v1/operations',
    operation: 'OperationList',
    own: true,
    handle: async ({ engine }) => ({ json: engine.operations.all().map(shown) }),
  },
  {
    method: 'DELETE',
    path: '/berth/v1/operations/{id}',
    operation: 'OperationCancel',
    own: true,
    handle: async call => {
      const operation = call.engine.operations.get(call.params['id'] ?? '')
      const by = canceller(call)
      operation.cancel(by)
      call.engine.log.info('an operation is cancelled', {
        operation: `${operation.verb} ${operation.subject.name || operation.subject.id}`,
        by,
      })
      // It is listed until it has taken back what it made.
      return { status: 202, json: shown(operation) }
    },
  },
]
