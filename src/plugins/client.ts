import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError, hasCode } from '../core/errors.ts'
import { openTransport, type PluginAnswer, pluginError, type Transport } from './transport.ts'
import type { CallOptions, PluginAddress } from './types.ts'

/** Milliseconds: Docker's pauses, which double, and the end of its patience. */
const firstPause = 1000
const longestPatience = 30_000

/** The text that an answer has for people, whatever its form. */
const wordsOf = ({ status, text }: PluginAnswer): string => {
  try {
    const { Err } = JSON.parse(text) as { Err?: unknown }
    if (typeof Err === 'string' && Err !== '') return Err
  } catch {}
  return text.trim() || `status ${status}`
}

const decoded = <T>(method: string, answer: PluginAnswer): T => {
  if (answer.status !== 200) throw pluginError(`${method}: ${wordsOf(answer)}`)
  let value: unknown
  try {
    value = answer.text.trim() === '' ? {} : JSON.parse(answer.text)
  } catch (error) {
    throw pluginError(`${method}: the plugin's answer is no JSON`, error)
  }
  if (typeof value !== 'object' || value === null)
    throw pluginError(`${method}: the plugin's answer is no JSON object`)
  const { Err } = value as { Err?: unknown }
  if (typeof Err === 'string' && Err !== '') throw pluginError(Err)
  return value as T
}

/** The calls of one plugin, over connections that are kept. */
export class PluginClient implements Disposable {
  readonly #transport: Transport

  constructor(address: PluginAddress) {
    this.#transport = openTransport(address)
  }

  async call<T>(method: string, args: object | undefined, options: CallOptions): Promise<T> {
    const body = args === undefined ? '' : JSON.stringify(args)
    const began = Date.now()
    for (let pause = firstPause; ; pause *= 2) {
      try {
        return decoded<T>(method, await this.#post(method, body, options))
      } catch (error) {
        const isOver = Date.now() - began + pause >= longestPatience
        if (!options.patient || isOver || !hasCode(error, 'plugin-unreachable')) throw error
      }
      await sleep(pause, undefined, options.signal ? { signal: options.signal } : {})
    }
  }

  async #post(method: string, body: string, { signal, deadline }: CallOptions): Promise<PluginAnswer> {
    const late = AbortSignal.timeout(deadline)
    try {
      return await this.#transport.post(method, body, signal ? AbortSignal.any([late, signal]) : late)
    } catch (error) {
      signal?.throwIfAborted()
      if (late.aborted)
        throw new BerthError('plugin-unreachable', 500, `${method}: no answer within ${deadline / 1000} s`, {
          cause: error,
        })
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }
}
