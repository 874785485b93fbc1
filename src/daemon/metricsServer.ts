import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { RequestWatcher } from '../api/watch.ts'
import { badRequest, messageOf } from '../core/errors.ts'
import type { Engine } from '../engine/engine.ts'
import { type DaemonIdentity, expose } from '../engine/metrics/exposition.ts'
import { contentType } from '../engine/metrics/text.ts'

/** `--metrics-addr`: what Prometheus reads, at a door of its own that can do nothing else. */

export interface MetricsAddress {
  host: string
  port: number
}

/** `127.0.0.1:9323`, `[::1]:9323`, `:9323`. Errors: `bad-request`. */
export const parseMetricsAddress = (text: string): MetricsAddress | undefined => {
  if (text === '') return undefined
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/]*):(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > 65535)
    throw badRequest(
      `invalid value ${JSON.stringify(text)} for metrics-addr: want host:port, as 127.0.0.1:9323`,
    )
  return { host: host.replace(/[[\]]/g, '') || '::', port: Number(port) }
}

export const countRequests = ({ metrics }: Engine): RequestWatcher => ({
  ended: ({ route }, { status, seconds }) => metrics.requests.note(route.operation, status, seconds),
})

const end = (res: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
  res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) })
  res.end(text)
}

const answer = async (
  { method, url = '/' }: IncomingMessage,
  res: ServerResponse,
  text: (containers: boolean) => Promise<string>,
): Promise<void> => {
  const { pathname, searchParams } = new URL(url, 'http://metrics')
  if (pathname !== '/metrics') return end(res, 404, '404 page not found: metrics are at /metrics\n')
  if (method !== 'GET') return end(res, 405, 'Method Not Allowed\n')
  end(res, 200, await text(searchParams.get('containers') !== '0'), contentType)
}

/** Listens until it is disposed of. Errors: `bad-request` where the address is taken. */
export const serveMetrics = async (
  engine: Engine,
  address: MetricsAddress | undefined,
  identity: DaemonIdentity,
): Promise<Disposable | undefined> => {
  if (!address) return undefined
  const server = createServer((req, res) => {
    answer(req, res, containers => expose(engine, identity, { containers })).catch(error => {
      engine.log.error('the metrics could not be read', { error: messageOf(error) })
      if (res.headersSent) res.destroy()
      else end(res, 500, `${messageOf(error)}\n`)
    })
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(address, resolve)
    })
  } catch (error) {
    throw badRequest(`cannot serve metrics on ${address.host}:${address.port}: ${messageOf(error)}`, error)
  }
  engine.log.info('metrics are served', { host: address.host, port: address.port })
  return {
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
