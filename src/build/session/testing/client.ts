import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Http2Server } from 'node:http2'
import { connect, createServer as listen, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { ConnectRouter } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { Health, HealthCheckResponse_ServingStatus } from '../../../wire/buildkit/health_pb.ts'
import type { Session } from '../session.ts'
import { Sessions } from '../sessions.ts'

/** A client for tests: serves what a test gives it over one end of a connection, whose other end is a session. */

/** Two ends of one connection. */
export const socketPair = async (): Promise<[Socket, Socket]> => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-pair-'))
  const server = listen({ allowHalfOpen: true })
  server.listen(path.join(folder, 'socket'))
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const near = connect({ path: path.join(folder, 'socket'), allowHalfOpen: true })
  const [far] = (await accepted) as [Socket]
  server.close()
  rmSync(folder, { recursive: true })
  return [near, far]
}

export const serveOver = (socket: Socket, routes: (router: ConnectRouter) => void): Http2Server => {
  const server = createServer(
    { maxSessionInvalidFrames: 0 },
    connectNodeAdapter({ routes, connect: false, grpcWeb: false }),
  )
  socket.on('error', () => socket.destroy())
  server.on('sessionError', () => {})
  server.emit('connection', socket)
  return server
}

export interface TestClient extends AsyncDisposable {
  session: Session
  sessions: Sessions
  /** The client's end. */
  socket: Socket
}

let count = 0

/** A session whose client serves these routes; `methods` are what it says that it serves. */
export const openClient = async (
  routes: (router: ConnectRouter) => void,
  methods: readonly string[],
): Promise<TestClient> => {
  const [near, far] = await socketPair()
  serveOver(far, router => {
    router.service(Health, { check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }) })
    routes(router)
  })
  const sessions = new Sessions()
  const session = sessions.open({
    socket: near,
    id: `client-${++count}`,
    name: '',
    sharedKey: 'key',
    methods,
  })
  return {
    session,
    sessions,
    socket: far,
    [Symbol.asyncDispose]: async () => {
      await sessions[Symbol.asyncDispose]()
      far.destroy()
    },
  }
}
