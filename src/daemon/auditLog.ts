import { closeSync, fstatSync, openSync, statSync, writeSync } from 'node:fs'
import path from 'node:path'
import { type Peer, peerOf, subjectOf } from '../api/peer.ts'
import type { RequestOutcome, RequestWatcher, SeenRequest } from '../api/watch.ts'
import { nowText } from '../core/clock.ts'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import { nonce } from '../core/ids.ts'
import type { Log } from '../core/log.ts'

/**
 * A line of JSON for each request: who asked, what for, what came of it. What
 * changes something has a line before it begins, too, so that the death of the
 * daemon hides nothing.
 */
export interface AuditLog extends Disposable {
  watcher: RequestWatcher
  /** Opens the file anew, as after its rotation. Errors: `bad-request`. */
  reopen(): void
}

/** Values of these may be secrets. */
const secret = new Set(['buildargs', 'remote', 'authConfig'])
const shownSecret = '***'

interface Known {
  id: string
  who: object
  what: object
}

const whoOf = (peer: Peer | undefined): object => {
  if (!peer) return { kind: 'gone' }
  if (peer.kind !== 'tls') return peer
  const { kind, address } = peer
  return { kind, address, subject: subjectOf(peer) ?? '' }
}

const peerOrGone = ({ req }: SeenRequest): Peer | undefined => {
  try {
    return peerOf(req.socket)
  } catch {
    return undefined
  }
}

const queryOf = (url: string): Record<string, string> =>
  Object.fromEntries(
    [...new URLSearchParams(url.split('?')[1] ?? '')].map(([name, value]) => [
      name,
      secret.has(name) ? shownSecret : value,
    ]),
  )

const open = (file: string): number => {
  try {
    return openSync(file, 'a', 0o600)
  } catch (error) {
    throw badRequest(`the audit log ${file} cannot be opened: ${messageOf(error)}`, error)
  }
}

/** Who holds a connection need not be asked again for each of its requests, but who asked is on each line. */
const knowRequest = (seen: SeenRequest): Known => {
  const { req, route, params } = seen
  const url = req.url ?? '/'
  const query = queryOf(url)
  return {
    id: nonce(),
    who: { ...whoOf(peerOrGone(seen)), agent: req.headers['user-agent'] ?? '' },
    what: {
      method: req.method,
      path: url.split('?')[0],
      operation: route.operation,
      ...(Object.keys(params).length ? { object: params } : {}),
      ...(Object.keys(query).length ? { query } : {}),
    },
  }
}

const changes = ({ req }: SeenRequest): boolean => req.method !== 'GET' && req.method !== 'HEAD'

const resultOf = ({ status, seconds, error, id }: RequestOutcome): object => ({
  status,
  ms: Math.round(seconds * 1000),
  ...(error === '' ? {} : { error }),
  ...(id === '' ? {} : { id }),
})

class File implements Disposable {
  readonly #path: string
  readonly #log: Log
  #fd: number
  #failing = false

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#fd = open(path)
  }

  /** Never throws: a disk that is full must not keep anybody from freeing it. */
  write(record: object): void {
    try {
      writeSync(this.#fd, `${JSON.stringify(record)}\n`)
      this.#failing = false
    } catch (error) {
      if (!this.#failing)
        this.#log.error('the audit log cannot be written: requests go unrecorded', {
          file: this.#path,
          error: messageOf(error),
        })
      this.#failing = true
    }
  }

  reopen(): void {
    if (this.#isThere()) return
    const fd = open(this.#path)
    closeSync(this.#fd)
    this.#fd = fd
  }

  /** Whether the path still leads to what is open. */
  #isThere(): boolean {
    try {
      const [named, mine] = [statSync(this.#path), fstatSync(this.#fd)]
      return named.ino === mine.ino && named.dev === mine.dev
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false
      throw error
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

/** Errors: `bad-request` where the file cannot be opened. */
export const openAuditLog = (file: string, log: Log): AuditLog => {
  const lines = new File(path.resolve(file), log)
  const known = new WeakMap<SeenRequest, Known>()
  const watcher: RequestWatcher = {
    begun: seen => {
      const request = knowRequest(seen)
      known.set(seen, request)
      const { id, who, what } = request
      if (changes(seen)) lines.write({ time: nowText(), phase: 'begun', request: id, who, ...what })
    },
    ended: (seen, outcome) => {
      const { id, who, what } = known.get(seen) ?? knowRequest(seen)
      lines.write({ time: nowText(), phase: 'ended', request: id, who, ...what, ...resultOf(outcome) })
    },
  }
  return { watcher, reopen: () => lines.reopen(), [Symbol.dispose]: () => lines[Symbol.dispose]() }
}
