import { STATUS_CODES } from 'node:http'
import { BerthError, badRequest, hasCode } from '../core/errors.ts'
import { failure, shownUrl, troubleOf } from './failures.ts'
import { parseContentRange, single } from './headers.ts'
import { pauseAfter, pauseFor, retried } from './retry.ts'
import { basicOf } from './tokens.ts'
import type { Answer, Headers, Transport } from './transport.ts'
import type { Download } from './types.ts'

/** What any address of HTTP gives, over the same proxies as registries. */

export interface DownloadRequest {
  url: URL
  transport: Transport
  userAgent: string
  signal: AbortSignal
  /** ETag of what need not come again. */
  known?: string
}

const errorLimit = 4096
const attempts = 3

/** Errors: `bad-request`, which shows nothing of it: it may be a password. */
const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw badRequest('the user or the password of the address is not encoded rightly: a % is written %25')
  }
}

/** The user of an address, as other programs send it. */
const authorization = ({ username, password }: URL): Headers =>
  username === '' && password === ''
    ? {}
    : { authorization: basicOf({ username: decoded(username), password: decoded(password) }) }

const ask = async (
  { url, transport, userAgent, signal }: DownloadRequest,
  more: Headers = {},
): Promise<Answer> => {
  const bare = new URL(url)
  bare.username = ''
  bare.password = ''
  bare.hash = ''
  const headers = { 'user-agent': userAgent, 'accept-encoding': 'identity', ...authorization(url), ...more }
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

const refused = async ({ url }: DownloadRequest, { status, body }: Answer): Promise<Error> => {
  const text = (await body.read(errorLimit).catch(() => undefined))?.toString().trim() ?? ''
  const said = /^[^<]{1,500}$/.test(text) ? `: ${text}` : ''
  return failure(
    status === 404 ? 'not-found' : 'download-refused',
    [400, 401, 403, 404].includes(status) ? status : 500,
    `failed to GET ${shownUrl(url)} with status ${status} ${STATUS_CODES[status] ?? ''}${said}`,
    { transient: false, spoke: true },
  )
}

/** By what a server tells that its content is still the same; empty where it does not. */
const versionOf = ({ headers }: Answer): string => {
  const etag = single(headers['etag']) ?? ''
  return etag.startsWith('W/') ? '' : etag || (single(headers['last-modified']) ?? '')
}

/** From `position` on; undefined where the server gives that no more, or of something else. */
const askRest = async (
  request: DownloadRequest,
  { first, position }: { first: Answer; position: number },
): Promise<Answer | undefined> => {
  const version = versionOf(first)
  if (version === '') return undefined
  const answer = await ask(request, { range: `bytes=${position}-`, 'if-range': version })
  const range = parseContentRange(single(answer.headers['content-range']))
  if (answer.status === 206 && range?.first === position && versionOf(answer) === version) return answer
  answer.body.cancel()
  return undefined
}

/** Goes on where a connection was cut, if the server lets it. */
async function* wholeOf(request: DownloadRequest, first: Answer): AsyncGenerator<Uint8Array> {
  const { signal, transport } = request
  let answer = first
  let position = 0
  for (let failed = 0; ; ) {
    const before = position
    try {
      for await (const chunk of answer.body) {
        position += chunk.length
        yield chunk
      }
      return
    } catch (error) {
      failed = position > before ? 1 : failed + 1
      if (signal.aborted || !troubleOf(error).transient || failed >= attempts) throw error
      await pauseFor(pauseAfter(failed, transport.timings, undefined), signal)
      const rest = await askRest(request, { first, position })
      if (!rest) throw error
      answer = rest
    }
  }
}

/** Errors: `not-found`, 400, 401 and 403 as the server says, `registry-unreachable`, `registry-untrusted`. */
export const openDownload = async (request: DownloadRequest): Promise<Download> => {
  if (!/^https?:$/.test(request.url.protocol))
    throw badRequest(`unsupported protocol scheme "${request.url.protocol.slice(0, -1)}": want http or https`)
  const { known } = request
  const first = await ask(request, known === undefined ? {} : { 'if-none-match': known })
  const { headers, status } = first
  const isSame = status === 304 || (status < 300 && isSameTag(known, single(headers['etag'])))
  if (known !== undefined && isSame) {
    first.body.cancel()
    return { size: 0, headers, isKnown: true, bytes: nothing() }
  }
  if (status >= 300) throw await refused(request, first)
  const size = Number(single(headers['content-length']) ?? Number.NaN)
  return {
    size: Number.isSafeInteger(size) ? size : undefined,
    headers,
    isKnown: false,
    bytes: wholeOf(request, first),
  }
}

const bareTag = (tag: string): string => tag.replace(/^W\//, '')

/** Some servers give ETags and know nothing of If-None-Match. */
const isSameTag = (known: string | undefined, told: string | undefined): boolean =>
  known !== undefined && told !== undefined && bareTag(told) === bareTag(known)

async function* nothing(): AsyncGenerator<Uint8Array> {}
