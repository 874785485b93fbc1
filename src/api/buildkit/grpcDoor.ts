import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { Code, type ConnectRouter, createContextKey, createContextValues } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { callError, httpError, statusOf } from '../../build/session/grpcStatus.ts'
import { asBerthError, BerthError } from '../../core/errors.ts'
import type { Requester } from '../../engine/operations.ts'
import { namedTrailers } from './grpcErrors.ts'

/** gRPC on connections that are HTTP/2: what the services are that answer, and who is let in, is for others. */

/** A call that is let in. */
export interface Admitted {
  /** Who calls. */
  requester: Requester
  /** Hears of the call's end; `error` is undefined where it went well. */
  ended(error: BerthError | undefined): void
}

/** Asked before a call is served. What it throws is the call's answer. */
export type Admit = (call: Http2ServerRequest, signal: AbortSignal) => Promise<Admitted> | Admitted

/** Serves gRPC on connections that are handed to it. */
export interface GrpcDoor extends Disposable {
  /** `connection` is a stream of HTTP/2 from its first byte. */
  take(connection: Duplex, admit: Admit): void
}

/** Who calls, for handlers; undefined where nobody told. */
export const requesterKey = createContextKey<Requester | undefined>(undefined)

const messageLimit = 16 * 1024 * 1024
/** Attributes and inputs of a build are in messages, what ties calls to builds in headers. Bytes. */
const headerLimit = 1024 * 1024
/** What may be under way to us on one stream, and on all of a connection: contexts of sessions come so, too. Bytes. */
const streamWindow = 4 * 1024 * 1024
const connectionWindow = 16 * 1024 * 1024
/** What Node holds for a connection before it refuses streams: above what the windows let come. Megabytes. */
const maxSessionMemory = 64

type Handler = (req: Http2ServerRequest, res: Http2ServerResponse) => void

/** HTTP's version is wrong for all that is not gRPC: those who can are to use the other one. */
const refuseOther = (res: Http2ServerResponse): void => {
  res.writeHead(505, { 'content-type': 'application/json' })
  const message = 'by HTTP/2 only gRPC is served here: use HTTP/1.1 for the Engine API'
  res.end(`${JSON.stringify({ message })}\n`)
}

/** An answer without a body (gRPC over HTTP/2, "Trailers-Only"). */
const refuse = (res: Http2ServerResponse, { status, message }: BerthError): void => {
  const code = status === 403 ? Code.PermissionDenied : status >= 500 ? Code.Internal : Code.Unknown
  res.writeHead(200, {
    'content-type': 'application/grpc',
    'grpc-status': String(code),
    'grpc-message': encodeURIComponent(message),
  })
  res.end()
}

const clientLeft = new BerthError('cancelled', 499, 'the client left the call')

type Trailers = Record<string, string | string[]>

/** How a call ended: by its trailers, or by the answer to what is no call; one with neither, or reset, was left by its client. */
const endOf = (res: Http2ServerResponse, trailers: Trailers | undefined): BerthError | undefined => {
  if (res.stream.rstCode !== constants.NGHTTP2_NO_ERROR) return clientLeft
  const told = statusOf(trailers ?? {})
  if (told) {
    const { code, status } = callError(told.code, told.message)
    return told.code === 0 ? undefined : new BerthError(code, status, told.message)
  }
  return res.statusCode === 200 ? clientLeft : httpError(res.statusCode)
}

/** Handlers set no details of errors by their own name: they get it here. Tells `ended` once of the call's end. */
const watchEnd = (res: Http2ServerResponse, ended: Admitted['ended']): void => {
  const send = res.addTrailers.bind(res)
  let trailers: Trailers | undefined
  res.addTrailers = given => {
    trailers = namedTrailers(given as Trailers)
    send(trailers)
  }
  res.stream.once('close', () => ended(endOf(res, trailers)))
}

interface Serving {
  handle: Handler
  requesters: WeakMap<object, Requester>
}

const signalOf = ({ stream }: Http2ServerRequest): AbortSignal => {
  const end = new AbortController()
  stream.once('close', () => end.abort(clientLeft))
  return end.signal
}

const serve = async (
  { handle, requesters }: Serving,
  { req, res, admit }: { req: Http2ServerRequest; res: Http2ServerResponse; admit: Admit },
): Promise<void> => {
  if (!req.headers['content-type']?.startsWith('application/grpc')) return refuseOther(res)
  let admitted: Admitted
  try {
    admitted = await admit(req, signalOf(req))
  } catch (error) {
    if (!req.stream.destroyed) refuse(res, asBerthError(error))
    return
  }
  if (req.stream.destroyed) return admitted.ended(clientLeft)
  requesters.set(req, admitted.requester)
  watchEnd(res, admitted.ended)
  try {
    handle(req, res)
  } catch (error) {
    // A path or an authority that are none.
    refuse(res, asBerthError(error))
  }
}

const createHttp2 = (
  routes: (router: ConnectRouter) => void,
  admits: WeakMap<object, Admit>,
): Http2Server => {
  const requesters = new WeakMap<object, Requester>()
  const handle = connectNodeAdapter({
    routes,
    connect: false,
    grpcWeb: false,
    readMaxBytes: messageLimit,
    writeMaxBytes: messageLimit,
    acceptCompression: [],
    contextValues: req => createContextValues().set(requesterKey, requesters.get(req)),
  })
  const settings = { maxHeaderListSize: headerLimit, initialWindowSize: streamWindow }
  const options = { maxSendHeaderBlockLength: headerLimit, maxSessionMemory, settings }
  return createServer(options, (req, res) => {
    const admit = req.stream.session && admits.get(req.stream.session)
    if (admit) void serve({ handle, requesters }, { req, res, admit })
    else req.stream.close()
  })
}

/** Disposal ends all connections. */
export const createGrpcDoor = (routes: (router: ConnectRouter) => void): GrpcDoor => {
  const admits = new WeakMap<object, Admit>()
  const server = createHttp2(routes, admits)
  const open = new Set<Duplex>()
  // A client that leaves sends what Node takes for an error.
  server.on('sessionError', () => {})
  server.on('session', session => {
    session.setLocalWindowSize(connectionWindow)
    session.on('error', () => session.destroy())
  })
  return {
    take: (connection, admit) => {
      open.add(connection)
      connection.once('close', () => open.delete(connection))
      connection.on('error', () => connection.destroy())
      // It becomes a session within this call.
      const meet = (session: ServerHttp2Session): void => void admits.set(session, admit)
      server.once('session', meet)
      server.emit('connection', connection)
      server.off('session', meet)
    },
    [Symbol.dispose]: () => {
      for (const connection of open) connection.destroy()
    },
  }
}
