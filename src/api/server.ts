import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { asBerthError, BerthError, badRequest, hasCode, notFound } from '../core/errors.ts'
import { stringify } from '../core/json.ts'
import type { Engine } from '../engine/engine.ts'
import { ApiVersion } from '../wire/version.ts'
import { stopReading, takeStream, takeWait, type UpgradeLeft } from './hijack.ts'
import { type Answer, type Call, Query, type Route } from './route.ts'
import { createRouter } from './router.ts'
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

export const standardHeaders: Record<string, string> = {
  'Api-Version': apiVersion,
  'Docker-Experimental': 'false',
  Ostype: 'linux',
  Server: `Berth/${serverVersion} (linux)`,
}

const send = (res: ServerResponse, answer: Answer): void => {
  if (!answer || res.headersSent) return
  const { json } = answer
  if (json === undefined) {
    res.writeHead(answer.status ?? 204)
    res.end()
    return
  }
  const text = `${stringify(json)}\n`
  res.writeHead(answer.status ?? 200, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  })
  res.end(text)
}

/** An error before the answer began is a status and `{"message"}`; after that only an end of the stream can tell. */
const sendError = (engine: Engine, res: ServerResponse, thrown: unknown): void => {
  const error = asBerthError(thrown)
  // A client that closes its connection early is nobody's failure.
  const isGone = hasCode(thrown, 'ERR_STREAM_PREMATURE_CLOSE')
  if (error.status >= 500 && error.status !== 501 && !isGone)
    engine.log.error(error.message, { cause: error.cause instanceof Error ? error.cause.stack : undefined })
  if (res.headersSent || res.destroyed) res.destroy()
  else send(res, { status: error.status, json: { message: error.message } })
}

const abortOnClose = (res: ServerResponse): AbortSignal => {
  const controller = new AbortController()
  res.once('close', () => {
    if (!res.writableFinished)
      controller.abort(new BerthError('client-gone', 499, 'the client closed the connection'))
  })
  return controller.signal
}

/** The HTTP door of one daemon: give it connections by `listen` or `emit('connection')`. */
export const createApiServer = (engine: Engine, routes: readonly Route[]): Server => {
  const find = createRouter(routes)

  const answer = async (req: IncomingMessage, res: ServerResponse, left?: UpgradeLeft): Promise<void> => {
    for (const [name, value] of Object.entries(standardHeaders)) res.setHeader(name, value)
    const started = performance.now()
    try {
      const { version, path: full } = versionOf(req.url ?? '/')
      const [path = '/', query = ''] = full.split(/\?(.*)/s)
      const found = find(req.method ?? 'GET', path)
      if (!found) throw notFound('page not found')
      let taken = false
      const call: Call = {
        engine,
        req,
        res,
        params: found.params,
        query: new Query(query),
        version,
        upgrade: left !== undefined,
        signal: abortOnClose(res),
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
      }
      const result = await found.route.handle(call)
      if (!taken) send(res, result)
    } catch (error) {
      sendError(engine, res, error)
    }
    engine.log.debug(`${req.method} ${req.url}`, {
      status: res.statusCode,
      ms: Math.round(performance.now() - started),
    })
  }

  const server = createServer({
    requestTimeout: 0,
    headersTimeout: 0,
    keepAliveTimeout: 0,
    maxHeaderSize: 1024 * 1024,
    noDelay: true,
  })
  server.on('request', (req, res) => void answer(req, res))
  server.on('upgrade', (req: IncomingMessage, wrapper: Duplex, head: Buffer) => {
    if (hasNoBody(req) && !isWebSocket(req)) stopReading(req)
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(req.socket)
    res.once('finish', () => req.socket.end())
    req.socket.on('error', () => req.socket.destroy())
    void answer(req, res, { head, wrapper })
  })
  return server
}

const hasNoBody = (req: IncomingMessage): boolean =>
  (req.headers['content-length'] ?? '0') === '0' && req.headers['transfer-encoding'] === undefined
