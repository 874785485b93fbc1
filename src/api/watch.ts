import type { IncomingMessage } from 'node:http'
import type { Route } from './route.ts'

/** A request that has found its route. */
export interface SeenRequest {
  req: IncomingMessage
  route: Route
  params: Record<string, string>
}

export interface RequestOutcome {
  /** Of HTTP; 101 and 200 for a connection that was handed over. */
  status: number
  seconds: number
  /** Why it failed; empty where it did not. */
  error: string
  /** The id that the answer names, of what was made. */
  id: string
}

/** Sees all requests; nothing that it does changes them. */
export interface RequestWatcher {
  /** Before its handler runs. What it throws is the request's answer. */
  begun?(request: SeenRequest): void
  ended(request: SeenRequest, outcome: RequestOutcome): void
}
