import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { badRequest } from '../core/errors.ts'
import type { RawClient } from '../engine/containers/rawClient.ts'
import type { Engine } from '../engine/engine.ts'
import type { ApiVersion } from '../wire/version.ts'

/** One request on its way through a route. */
export interface Call {
  engine: Engine
  req: IncomingMessage
  res: ServerResponse
  params: Record<string, string>
  query: Query
  version: ApiVersion
  /** Takes the connection out of HTTP; `head` is written first. See hijack.ts. */
  takeOver(kind: 'stream' | 'wait', head: Record<string, string>): Promise<RawClient>
  /** Takes the connection over as a websocket. Errors: `bad-request` where the client asked for none. */
  takeWebSocket(): Promise<WebSocket>
  /** Takes the connection over as HTTP/2, which begins behind the answer; to be used in the same turn. Errors: `bad-request` where the client asked for none. */
  takeH2c(): Socket
  /** True where the client asked for an upgrade. */
  upgrade: boolean
  /** Aborts when the client goes away before the answer is complete. */
  signal: AbortSignal
}

/** What a handler gives: a JSON body, a status alone, or nothing where it answered by itself. */
export type Answer = { status?: number; json?: unknown } | undefined

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'

export interface Route {
  method: Method
  /** With `{name}` for parameters, as in Docker's documentation. */
  path: string
  /** Docker's operation id. */
  operation: string
  /** Left out of docs/api.md's count of Docker's operations: Berth's own. */
  own?: true
  /** Docker has it, but its API description leaves it out. */
  undescribed?: true
  /** What part of it is not there, for docs/api.md. */
  lacks?: string
  handle(call: Call): Promise<Answer>
}

/** The query string, read as Docker reads it. */
export class Query {
  readonly #params: URLSearchParams

  constructor(text: string) {
    this.#params = new URLSearchParams(text)
  }

  get(name: string): string | undefined {
    return this.#params.get(name) ?? undefined
  }

  all(name: string): string[] {
    return this.#params.getAll(name)
  }

  /** Docker's truth: anything but empty, 0, no, false, none. */
  flag(name: string, otherwise = false): boolean {
    const value = this.get(name)
    if (value === undefined) return otherwise
    return !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase())
  }

  /** Errors: `bad-request` that names the parameter. */
  int(name: string): number | undefined {
    const value = this.get(name)
    if (value === undefined || value === '') return undefined
    if (!/^-?\d+$/.test(value))
      throw badRequest(`invalid value for ${name}: ${JSON.stringify(value)} is not an integer`)
    return Number(value)
  }
}
