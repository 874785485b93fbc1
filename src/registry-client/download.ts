import { STATUS_CODES } from 'node:http'
import { BerthError, badRequest, hasCode } from '../core/errors.ts'
import { failure, shownUrl } from './failures.ts'
import { single } from './headers.ts'
import { retried } from './retry.ts'
import { basicOf } from './tokens.ts'
import type { Answer, Headers, Transport } from './transport.ts'
import type { Download } from './types.ts'

/** What any address of HTTP gives, over the same proxies as registries. */

export interface DownloadRequest {
  url: URL
  transport: Transport
  userAgent: string
  signal: AbortSignal
}

const errorLimit = 4096
const attempts = 3

/** The user of an address, as other programs send it. */
const authorization = ({ username, password }: URL): Headers =>
  username === '' && password === ''
    ? {}
    : {
        authorization: basicOf({
          username: decodeURIComponent(username),
          password: decodeURIComponent(password),
        }),
      }

const ask = async ({ url, transport, userAgent, signal }: DownloadRequest): Promise<Answer> => {
  const bare = new URL(url)
  bare.username = ''
  bare.password = ''
  bare.hash = ''
  const headers = { 'user-agent': userAgent, 'accept-encoding': 'identity', ...authorization(url) }
  try {
    // A connection that was kept may be gone by now.
    const send = (): Promise<Answer> => transport.send({ method: 'GET', url: bare, headers, signal })
    return await retried(send, { attempts, timings: transport.timings, signal })
  } catch (error) {
    if (!hasCode(error, 'registry-unreachable') || !(error instanceof BerthError)) throw error
    if (!error.message.endsWith('no such host')) throw error
    throw new BerthError('not-found', 404, error.message, { cause: error })
  }
}

/** Errors: `not-found`, 400, 401 and 403 as the server says, `registry-unreachable`, `registry-untrusted`. */
export const openDownload = async (request: DownloadRequest): Promise<Download> => {
  if (!/^https?:$/.test(request.url.protocol))
    throw badRequest(`unsupported protocol scheme "${request.url.protocol.slice(0, -1)}": want http or https`)
  const { status, headers, body } = await ask(request)
  if (status >= 300) {
    const text = (await body.read(errorLimit).catch(() => undefined))?.toString().trim() ?? ''
    const said = status < 600 && /^[^<]{1,500}$/.test(text) ? `: ${text}` : ''
    throw failure(
      status === 404 ? 'not-found' : 'download-refused',
      [400, 401, 403, 404].includes(status) ? status : 500,
      `failed to GET ${shownUrl(request.url)} with status ${status} ${STATUS_CODES[status] ?? ''}${said}`,
      { transient: false, spoke: true },
    )
  }
  const size = Number(single(headers['content-length']) ?? Number.NaN)
  return { size: Number.isSafeInteger(size) ? size : undefined, bytes: body }
}
