import { nowText } from '../core/clock.ts'
import { BerthError, conflict, notFound } from '../core/errors.ts'
import { nonce } from '../core/ids.ts'

/**
 * What is under way and may take long, each from its call to its end. An
 * operation that is cancelled throws at its next step or wait, takes back what
 * it had made, and its own client is told who cancelled it.
 */

export interface Subject {
  /** `container`, `image`, `exec`, …, or the plural for all of a kind. */
  type: string
  /** Empty where there is none yet. */
  id: string
  /** As users know it. */
  name: string
}

/** Who asked for it, as far as the request told. */
export interface Requester {
  /** Address and port; `unix` for a local socket. */
  remote: string
  /** The User-Agent header. */
  agent: string
  /** The X-Request-ID header. */
  requestId: string
  /** At the other end of a local socket, as it was when it connected; its name is empty where it could not be read. */
  process?: { uid: number; pid: number; name: string }
  /** Common name of the certificate that it has shown. */
  subject?: string
}

export interface OperationRequest {
  /** `start`, `load`, … */
  verb: string
  subject: Subject
  /** Absent for what the daemon does by itself. */
  requester?: Requester
}

export class Operation implements Disposable {
  readonly id = nonce()
  readonly started = nowText()
  readonly verb: string
  readonly subject: Subject
  readonly requester: Requester | undefined
  step = ''
  readonly #controller = new AbortController()
  readonly #onEnd: (operation: Operation) => void
  #irrevocable = ''

  constructor(request: OperationRequest, onEnd: (operation: Operation) => void) {
    this.verb = request.verb
    this.subject = request.subject
    this.requester = request.requester
    this.#onEnd = onEnd
  }

  /** Aborts with the error that the operation's own client gets. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Why it cannot be cancelled any more; empty while it can be. */
  get irrevocable(): string {
    return this.#irrevocable
  }

  /** Says what it does now. Throws where it has been cancelled. */
  at(step: string): void {
    this.signal.throwIfAborted()
    this.step = step
  }

  /** From here on it cannot be cancelled. Throws where it has been. */
  commit(why: string): void {
    this.signal.throwIfAborted()
    this.#irrevocable = why
  }

  /** Ends it with its client: nobody is left to take the result. */
  endWith(signal: AbortSignal): void {
    signal.addEventListener('abort', () => this.#controller.abort(signal.reason), { once: true })
  }

  /** `by` goes on from "was cancelled by". Idempotent. Errors: `conflict` where it is too late. */
  cancel(by: string): void {
    if (this.#irrevocable)
      throw conflict(`${describe(this)} cannot be cancelled any more: ${this.#irrevocable}`)
    this.#controller.abort(new BerthError('cancelled', 409, `${describe(this)} was cancelled by ${by}`))
  }

  [Symbol.dispose](): void {
    this.#onEnd(this)
  }
}

const describe = ({ verb, subject }: Operation): string =>
  `${verb} of ${[subject.type, subject.name || subject.id.slice(0, 12)].filter(Boolean).join(' ')}`

export class Operations {
  readonly #byId = new Map<string, Operation>()
  readonly #onEnd: (operation: Operation, seconds: number) => void

  /** `onEnd` is told of each that has ended, and how long it took. */
  constructor(onEnd: (operation: Operation, seconds: number) => void = () => {}) {
    this.#onEnd = onEnd
  }

  /** It is listed until it is disposed of. */
  begin(request: OperationRequest): Operation {
    const began = performance.now()
    const operation = new Operation(request, ended => {
      if (this.#byId.delete(ended.id)) this.#onEnd(ended, (performance.now() - began) / 1000)
    })
    this.#byId.set(operation.id, operation)
    return operation
  }

  /** Oldest first. */
  all(): Operation[] {
    return [...this.#byId.values()]
  }

  /** Errors: `not-found`. */
  get(id: string): Operation {
    const operation = this.#byId.get(id)
    if (!operation) throw notFound(`no operation ${id} is under way: it has ended, or never was`)
    return operation
  }
}
