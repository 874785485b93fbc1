import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { BerthError, hasCode, messageOf } from '../core/errors.ts'
import type { PluginAddress } from './types.ts'

/** One exchange with a plugin. */

const mediaType = 'application/vnd.docker.plugins.v1.2+json'
const jsonHeaders = { Accept: mediaType, 'Content-Type': mediaType }
/** A plugin that answers more than this many bytes would fill memory. */
const maxAnswer = 16 * 1024 * 1024
/** What a socket is called in `Host`, where it has no name. */
const socketHost = 'plugin.moby.localhost'

export interface PluginAnswer {
  status: number
  text: string
}

export interface Transport extends Disposable {
  post(method: string, body: string, signal: AbortSignal): Promise<PluginAnswer>
}

/** The plugin answered with an error, or with nothing that can be used. */
export const pluginError = (message: string, cause?: unknown): BerthError =>
  new BerthError('plugin-error', 500, message, { cause })

/** Nobody answered: the call can be made again. */
const unreachable = (where: string, error: unknown): BerthError =>
  new BerthError('plugin-unreachable', 500, `${where}: ${messageOf(error) || 'connection refused'}`, {
    cause: error,
  })

const read = async (
  method: string,
  answer: http.IncomingMessage,
  signal: AbortSignal,
): Promise<PluginAnswer> => {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxAnswer) throw new Error(`it is larger than ${maxAnswer} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw pluginError(`${method}: the plugin's answer cannot be read: ${messageOf(error)}`, error)
  }
  return { status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }
}

const tlsOptions = ({ tls = {} }: PluginAddress): https.AgentOptions => ({
  ...(tls.CAFile ? { ca: readFileSync(tls.CAFile) } : {}),
  ...(tls.CertFile ? { cert: readFileSync(tls.CertFile) } : {}),
  ...(tls.KeyFile ? { key: readFileSync(tls.KeyFile) } : {}),
  rejectUnauthorized: tls.InsecureSkipVerify !== true,
})

const targetOf = (address: PluginAddress): http.RequestOptions => {
  const url = new URL(address.url)
  if (url.protocol === 'unix:')
    return { socketPath: decodeURIComponent(url.pathname), headers: { Host: socketHost } }
  // The scheme tcp knows no brackets of IPv6 and no standard port.
  const plain = url.protocol === 'tcp:' ? new URL(`http://${url.host}`) : url
  return { host: plain.hostname.replace(/^\[|\]$/g, ''), port: plain.port, headers: { Host: url.host } }
}

/** Keeps connections to one plugin. Errors: whatever files of TLS say. */
export const openTransport = (address: PluginAddress): Transport => {
  const isTls = address.url.startsWith('https:')
  const agent = isTls
    ? new https.Agent({ keepAlive: true, ...tlsOptions(address) })
    : new http.Agent({ keepAlive: true })
  const { headers, ...target } = targetOf(address)
  const send = isTls ? https.request : http.request
  return {
    post: async (method, body, signal) => {
      const ask = async (): Promise<http.IncomingMessage> => {
        const request = send({
          ...{ ...target, agent, signal, method: 'POST', path: `/${method}` },
          headers: { ...headers, ...jsonHeaders, 'Content-Length': Buffer.byteLength(body) },
        })
        const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
        request.once('response', resolve).on('error', reject).end(body)
        return await promise.catch(error => {
          // A kept connection that the plugin had closed meanwhile.
          if (request.reusedSocket && hasCode(error, 'ECONNRESET')) return ask()
          throw error
        })
      }
      let answer: http.IncomingMessage
      try {
        answer = await ask()
      } catch (error) {
        signal.throwIfAborted()
        throw unreachable(`Post "${address.url}/${method}"`, error)
      }
      return await read(method, answer, signal)
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}
