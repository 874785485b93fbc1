import { abandonable } from '../../core/abort.ts'
import { BerthError } from '../../core/errors.ts'
import { Session } from './session.ts'
import type { SessionConnection } from './types.ts'

/** How long a build waits for a session that it names. Milliseconds. */
const patience = 5_000

/** An id may have a prefix that tells contexts of one session apart. */
const bareId = (id: string): string => /^[^:]*:(.+)$/s.exec(id)?.[1] ?? id

/** The sessions that are there, by id. */
export class Sessions implements AsyncDisposable {
  readonly #sessions = new Map<string, Session>()
  readonly #awaited = new Map<string, Set<(session: Session) => void>>()

  /**
   * Takes a connection over. It is a session until the client leaves, or `close`
   * of it is called. Errors: `session-exists`.
   */
  open(connection: SessionConnection): Session {
    if (this.#sessions.has(connection.id))
      throw new BerthError('session-exists', 400, `session ${connection.id} already exists`)
    const session = new Session(connection)
    this.#sessions.set(session.id, session)
    session.signal.addEventListener('abort', () => this.#sessions.delete(session.id), { once: true })
    for (const arrived of this.#awaited.get(session.id) ?? []) arrived(session)
    this.#awaited.delete(session.id)
    return session
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(bareId(id))
  }

  /** The session, once it is there. Errors: `no-session` after some seconds, the signal's reason. */
  async wait(id: string, signal: AbortSignal, milliseconds = patience): Promise<Session> {
    const bare = bareId(id)
    const there = this.#sessions.get(bare)
    if (there) return there
    const { promise, resolve } = Promise.withResolvers<Session>()
    const waiting = this.#awaited.getOrInsertComputed(bare, () => new Set())
    waiting.add(resolve)
    const late = AbortSignal.timeout(milliseconds)
    try {
      return await abandonable(AbortSignal.any([signal, late]), promise)
    } catch (error) {
      if (signal.aborted || !late.aborted) throw error
      throw new BerthError('no-session', 404, `no active session for ${bare}: context deadline exceeded`)
    } finally {
      waiting.delete(resolve)
      if (waiting.size === 0 && this.#awaited.get(bare) === waiting) this.#awaited.delete(bare)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.#sessions.values()].map(session => {
        session.close()
        return session.closed
      }),
    )
  }
}
