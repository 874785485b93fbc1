import { attachContainer } from '../engine/containers/attach.ts'
import { messageClient } from '../engine/containers/messageClient.ts'
import type { Call, Route } from './route.ts'
import { messageChannel } from './webSocket.ts'

const attach = async (call: Call): Promise<undefined> => {
  const { engine, query, version } = call
  const target = engine.containers.get(call.params['id'] ?? '')
  // Before 1.42 a websocket had all streams, whatever it asked for.
  const chosen = version.atLeast('1.42')
  const options = {
    stream: query.flag('stream'),
    logs: query.flag('logs'),
    stdin: chosen ? query.flag('stdin') : true,
    stdout: chosen ? query.flag('stdout') : true,
    stderr: chosen ? query.flag('stderr') : true,
    detachKeys: query.get('detachKeys'),
    raw: true as const,
  }
  await attachContainer(engine, target, options, async () =>
    messageClient(messageChannel(await call.takeWebSocket(), version.atLeast('1.28'))),
  )
  return undefined
}

export const webSocketRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/{id}/attach/ws',
    operation: 'ContainerAttachWebsocket',
    handle: attach,
  },
]
