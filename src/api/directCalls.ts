import { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'
import { asBerthError } from '../core/errors.ts'
import type { Engine } from '../engine/engine.ts'
import { admitStream } from './authorization.ts'
import type { Admitted, GrpcDoor } from './buildkit/grpcDoor.ts'
import type { Route } from './route.ts'
import { requesterOf } from './track.ts'
import type { RequestWatcher, SeenRequest } from './watch.ts'

/**
 * gRPC straight on the API's sockets, without an upgrade. Each call is a request
 * like others: policies, plugins and the audit log see it as what its upgrade
 * would be, `POST /grpc` or `POST /session`, under its own path.
 */

export interface DirectParts {
  engine: Engine
  routes: readonly Route[]
  watchers: readonly RequestWatcher[]
  door: GrpcDoor
}

/** The call that is a session. */
const sessionPath = '/moby.buildkit.v1.Control/Session'

/** What is known of requests, of one of HTTP/2. Its body is not here. */
const requestOf = ({ method, url, headers, rawHeaders }: Http2ServerRequest, socket: Socket) => {
  const req = new IncomingMessage(socket)
  const isField = (name: string): boolean => !name.startsWith(':')
  Object.assign(req, { method, url, complete: true, httpVersion: '2.0' })
  req.headers = Object.fromEntries(Object.entries(headers).filter(([name]) => isField(name)))
  req.rawHeaders = rawHeaders.filter((_, index) => isField(rawHeaders[index & ~1] ?? ''))
  return req
}

const routeOf = (routes: readonly Route[], operation: string): Route => {
  const found = routes.find(route => route.operation === operation)
  if (!found) throw new Error(`there is no route ${operation}`)
  return found
}

/** Takes connections of HTTP/2. */
export const directCalls = ({ engine, routes, watchers, door }: DirectParts): ((socket: Socket) => void) => {
  const [grpc, session] = [routeOf(routes, 'Grpc'), routeOf(routes, 'Session')]

  const admit = async (socket: Socket, call: Http2ServerRequest, signal: AbortSignal): Promise<Admitted> => {
    const started = performance.now()
    const req = requestOf(call, socket)
    const seen: SeenRequest = { req, route: call.url === sessionPath ? session : grpc, params: {} }
    const note = (status: number, error: string): void => {
      const seconds = (performance.now() - started) / 1000
      for (const watcher of watchers) watcher.ended(seen, { status, seconds, error, id: '' })
      engine.log.debug(`${call.method} ${call.url}`, { status, ms: Math.round(seconds * 1000) })
    }
    try {
      for (const watcher of watchers) watcher.begun?.(seen)
      const tell = engine.settings.authorizationPlugins.length
        ? await admitStream(engine, { req, signal })
        : undefined
      return {
        requester: requesterOf({ req }),
        ended: error => {
          const status = error?.status ?? 200
          note(status, error?.message ?? '')
          void tell?.(status)
        },
      }
    } catch (thrown) {
      const error = asBerthError(thrown)
      note(error.status, error.message)
      throw error
    }
  }
  return socket => door.take(socket, (call, signal) => admit(socket, call, signal))
}
