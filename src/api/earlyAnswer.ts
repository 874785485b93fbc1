import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { hasNoBody } from './body.ts'
import { closeLingering } from './hijack.ts'

/**
 * Answers that go before the request's body is through: what was refused on the
 * way, and progress that is told while an archive still comes. What follows on
 * such a connection cannot be told from the rest of the body, so its answer says
 * that it is the last one.
 */

/** A request whose body may be left before its end: the connection, which owes an answer, is not taken with it. */
export class Request extends IncomingMessage {
  #onWanted: (() => void) | undefined

  /** Calls back when the body is read for the first time. */
  whenWanted(listener: () => void): void {
    this.#onWanted = listener
  }

  override _read(size: number): void {
    const tell = this.#onWanted
    this.#onWanted = undefined
    tell?.()
    super._read(size)
  }

  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<Buffer> {
    return this.iterator({ destroyOnReturn: false })
  }
}

/** Connections whose last answer has begun. */
const closing = new WeakSet<Socket>()

/** Whether a request came behind the last one that its connection has an answer for. */
export const cameTooLate = ({ socket }: IncomingMessage): boolean => closing.has(socket)

/** Whether more of the body is to come. */
export const isUnread = (req: IncomingMessage): boolean => !req.complete && !hasNoBody(req)

export class Response extends ServerResponse<Request> {
  override writeHead(status: number, ...rest: unknown[]): this {
    const { socket } = this.req
    if (!this.headersSent && isUnread(this.req)) {
      this.shouldKeepAlive = false
      closing.add(socket)
      socket.destroySoon = () => closeLingering(socket)
    }
    return super.writeHead(status, ...(rest as []))
  }
}
