import { createServer, type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { asBerthError, BerthError, badRequest, hasCode, messageOf, notFound } from '../core/errors.ts'
import { stringify } from '../core/json.ts'
import type { Engine } from '../engine/engine.ts'
import { ApiVersion } from '../wire/version.ts'
import { authorized } from './authorization.ts'
import { hasNoBody } from './body.ts'
import type { GrpcDoor } from './buildkit/grpcDoor.ts'
import { upgradeToH2c } from './buildkit/upgrade.ts'
import { directCalls } from './directCalls.ts'
import { cameTooLate, isUnread, Request, Response } from './earlyAnswer.ts'
import { closeLingering, stopReading, takeStream, takeWait, type UpgradeLeft } from './hijack.ts'
import { type ParseFailure, takeHttp2 } from './http2.ts'
import { type Answer, type Call, Query, type Route } from './route.ts'
import { createRouter } from './router.ts'
import type { RequestWatcher, SeenRequest } from './watch.ts'
import { acceptWebSocket, isWebSocket } from './webSocket.ts'

/** The newest version of the Engine API that is served, and the oldest. */
export const apiVersion = '1.55'
export const minApiVersion = '1.24'
export const serverVersion = '0.1.0'

const latest = new ApiVersion(apiVersion)
const oldest = new ApiVersion(minApiVersion)
const prefixForm = /^\/v(\d+\.\d+)(?=\/|$)/

const versionOf = (url: string): { version: ApiVersion; path: string } => {
  const match = prefixForm.exec(url)
  if (!match?.[1]) return { version: latest, path: url }
  const version = new ApiVersion(match[1])
  if (!latest.atLeast(match[1]))
    throw badRequest(`client version ${match[1]} is too new. Maximum supported API version is ${apiVersion}`)
  if (!version.atLeast(minApiVersion) || oldest.major > version.major)
    throw badRequest(
      `client version ${match[1]} is too old. Minimum supported API version is ${minApiVersion}, please upgrade your client to a newer version`,
    )
  return { version, path: url.slice(match[0].length) || '/' }
}

export const standardHeaders = (experimental: boolean): Record<string, string> => ({
  'Api-Version': apiVersion,
  'Docker-Experimental': String(experimental),
  Ostype: 'linux',
  Server: `Berth/${serverVersion} (linux)`,
})

const statusOf = (answer: Answer): number => answer?.status ?? (answer?.json === undefined ? 204 : 200)

const send = (res: ServerResponse, answer: Answer): void => {
  if (!answer) return
  if (answer.json === undefined) {
    res.writeHead(statusOf(answer))
    res.end()
    return
  }
  const text = `${stringify(answer.json)}\n`
  res.writeHead(statusOf(answer), {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  })
  res.end(text)
}

/** A client that closes its connection early is nobody's failure. */
const isLeave = (thrown: unknown, res: ServerResponse, signal: AbortSignal): boolean =>
  hasCode(thrown, 'ERR_STREAM_PREMATURE_CLOSE') ||
  (res.destroyed && hasCode(thrown, 'ECONNRESET')) ||
  (signal.aborted && hasCode(thrown, 'ABORT_ERR'))

const clientGone = (cause?: unknown): BerthError =>
  new BerthError('client-gone', 499, 'the client closed the connection', { cause })

/** What a client is told of; what is nobody's fault but ours is logged. */
const refusal = (engine: Engine, error: BerthError): Answer => {
  if (error.status >= 500 && error.status !== 501)
    engine.log.error(error.message, { cause: error.cause instanceof Error ? error.cause.stack : undefined })
  return { status: error.status, json: { message: error.message } }
}

/** The id of what was made, where an answer names one. */
const idOf = (answer: Answer): string => {
  const { Id } = (answer?.json ?? {}) as { Id?: unknown }
  return typeof Id === 'string' ? Id : ''
}

/** Aborts with the client's connection, and as Docker does when a client has closed its half of it; that one is answered all the same. */
const abortOnLeave = (req: IncomingMessage, res: ServerResponse): AbortSignal => {
  const controller = new AbortController()
  const leave = (): void => {
    if (!res.writableFinished) controller.abort(clientGone())
  }
  req.socket.once('end', leave)
  res.once('close', () => {
    req.socket.off('end', leave)
    leave()
  })
  return controller.signal
}

/** A body that came with its request's head is parsed in the same turn, after it: only one that did not costs the connection. */
const arrived = async (req: IncomingMessage): Promise<void> => {
  if (isUnread(req)) await new Promise(resolve => setImmediate(resolve))
}

/**
 * An upgrade that was sent before the request ahead of it was answered cannot
 * have the connection, which is that answer's: it ends with it.
 */
const endsBehindAnother = (socket: Socket): boolean => {
  const ahead = (socket as unknown as { _httpMessage?: ServerResponse | null })._httpMessage
  if (!ahead) return false
  socket.on('error', () => socket.destroy())
  ahead.once('finish', () => socket.destroySoon())
  return true
}

/** What Node answers by itself where nobody listens for it. */
const failureStatus: Record<string, number> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** A request that cannot be read. No answer where another one has begun on the connection. */
const refuseUnread = (socket: Socket, { code = '' }: ParseFailure): void => {
  const status = failureStatus[code] ?? 400
  const { _httpMessage: other } = socket as unknown as { _httpMessage?: ServerResponse | null }
  if (socket.writable && !other?.headersSent)
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`)
  socket.destroy()
}

export interface ApiServerOptions {
  watchers?: readonly RequestWatcher[]
  /** Serves those who speak gRPC without an upgrade. */
  door?: GrpcDoor | undefined
}

/** The HTTP door of one daemon: give it connections by `listen` or `emit('connection')`. */
export const createApiServer = (
  engine: Engine,
  routes: readonly Route[],
  { watchers = [], door }: ApiServerOptions = {},
): Server => {
  const find = createRouter(routes)
  const headers = Object.entries(standardHeaders(engine.settings.experimental))

  const answer = async (req: IncomingMessage, res: ServerResponse, left?: UpgradeLeft): Promise<void> => {
    for (const [name, value] of headers) res.setHeader(name, value)
    const started = performance.now()
    const signal = abortOnLeave(req, res)
    let seen: SeenRequest | undefined
    let taken = false
    let failure = ''
    let result: Answer
    try {
      const { version, path: full } = versionOf(req.url ?? '/')
      const [path = '/', query = ''] = full.split(/\?(.*)/s)
      const found = find(req.method ?? 'GET', path)
      if (!found) throw notFound('page not found')
      seen = { req, route: found.route, params: found.params }
      for (const watcher of watchers) watcher.begun?.(seen)
      const call: Call = {
        engine,
        req,
        res,
        params: found.params,
        query: new Query(query),
        version,
        upgrade: left !== undefined,
        signal,
        takeOver: (kind, fields) => {
          taken = true
          return kind === 'wait' ? takeWait(req, fields) : takeStream(req, left, fields)
        },
        takeWebSocket: () => {
          if (!isWebSocket(req) || !left) throw badRequest('the request is not a websocket handshake')
          taken = true
          res.detachSocket(req.socket)
          return acceptWebSocket(req, left)
        },
        takeH2c: () =>
          upgradeToH2c(req, left, () => {
            taken = true
            res.detachSocket(req.socket)
          }),
      }
      result = engine.settings.authorizationPlugins.length
        ? await authorized(call, found.route, () => taken)
        : await found.route.handle(call)
    } catch (thrown) {
      const error = isLeave(thrown, res, signal) ? clientGone(thrown) : asBerthError(thrown)
      failure = error.message
      result = refusal(engine, error)
    }
    const begun = taken || res.headersSent || res.destroyed
    if (!begun) await arrived(req)
    const streamed = taken && failure === ''
    const status = streamed ? (left ? 101 : 200) : res.headersSent ? res.statusCode : statusOf(result)
    const seconds = (performance.now() - started) / 1000
    // Before the client knows: what it was told has been noted.
    if (seen)
      for (const watcher of watchers)
        watcher.ended(seen, { status, seconds, error: failure, id: idOf(result) })
    if (!begun) send(res, result)
    // Only an end can tell now.
    else if (taken && failure !== '') closeLingering(req.socket)
    else if (failure !== '') res.destroy()
    engine.log.debug(`${req.method} ${req.url}`, { status, ms: Math.round(seconds * 1000) })
  }

  const server = createServer({
    requestTimeout: 0,
    headersTimeout: 0,
    keepAliveTimeout: 0,
    maxHeaderSize: 1024 * 1024,
    noDelay: true,
    IncomingMessage: Request,
    ServerResponse: Response,
  })
  // An answer goes to a client that has closed its half, too; Node's types do not know of it.
  Object.assign(server, { httpAllowHalfOpen: true })
  // Each of many pipelined requests listens.
  server.on('connection', (socket: Socket) => socket.setMaxListeners(0))
  server.on('request', (req, res) => {
    if (!cameTooLate(req)) void answer(req, res)
  })
  server.on('checkContinue', (req: Request, res: Response) => {
    req.whenWanted(() => {
      if (!res.headersSent) res.writeContinue()
    })
    server.emit('request', req, res)
  })
  server.on('upgrade', (req: IncomingMessage, wrapper: Duplex, head: Buffer) => {
    if (endsBehindAnother(req.socket)) return
    if (hasNoBody(req) && !isWebSocket(req)) stopReading(req)
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(req.socket)
    res.once('finish', () => closeLingering(req.socket))
    req.socket.on('error', () => req.socket.destroy())
    void answer(req, res, { head, wrapper })
  })
  const takeCalls = door && directCalls({ engine, routes, watchers, door })
  server.on('clientError', (failure: ParseFailure, stream) => {
    const socket = stream as Socket
    try {
      const http2 = takeCalls && takeHttp2(failure, socket)
      if (http2) takeCalls(http2)
      else refuseUnread(socket, failure)
    } catch (error) {
      engine.log.warn('a connection of HTTP/2 could not be taken', { error: messageOf(error) })
      socket.destroy()
    }
  })
  return server
}
