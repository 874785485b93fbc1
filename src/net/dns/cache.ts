import { type Answer, rcode, recordType } from './message.ts'

/**
 * Answers of upstream servers until their TTLs end (negative ones by the SOA,
 * RFC 2308), and a minute longer for when nobody answers (RFC 8767). Bounded in
 * bytes; what was used longest ago goes first.
 */

export interface CacheOptions {
  /** Milliseconds of a clock that never goes back. */
  now(): number
  bytes: number
}

interface Entry {
  answer: Answer
  storedAt: number
  expiresAt: number
  size: number
}

const longestPositive = 86_400
const longestNegative = 10_800
const staleMillis = 60_000
/** RFC 8767, 4. */
const staleTtl = 30
/** What an entry takes beside its bytes, roughly; each record's place is an object. */
const entryOverhead = 400
const recordOverhead = 60

/** The answer with its TTLs changed. */
const withTtls = (answer: Answer, change: (ttl: number) => number): Answer => {
  const body = Buffer.from(answer.body)
  for (const { ttlAt } of answer.records) body.writeUInt32BE(change(body.readUInt32BE(ttlAt)), ttlAt)
  return { ...answer, body }
}

const isPositive = ({ records }: Answer): boolean => records.some(({ section }) => section === 0)

/** Seconds an answer may be kept; 0 where it may not. */
export const lifetime = (answer: Answer): number => {
  const { body, records } = answer
  if (answer.truncated || (answer.rcode !== rcode.noError && answer.rcode !== rcode.nxDomain)) return 0
  // RFC 2181, 8: with the highest bit set it counts as 0.
  const ttls = records.map(({ ttlAt }) => body.readInt32BE(ttlAt)).map(ttl => Math.max(ttl, 0))
  const least = Math.min(...ttls)
  if (answer.rcode === rcode.noError && isPositive(answer)) return Math.min(least, longestPositive)
  const soa = records.find(({ section, type }) => section === 1 && type === recordType.soa)
  if (!soa || soa.end < 4) return 0
  return Math.min(least, body.readUInt32BE(soa.end - 4), longestNegative)
}

export class AnswerCache {
  readonly #options: CacheOptions
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(options: CacheOptions) {
    this.#options = options
  }

  /** What is kept and still good, with its age taken from the TTLs. */
  fresh(key: string): Answer | undefined {
    const entry = this.#use(key)
    const now = this.#options.now()
    if (!entry || entry.expiresAt <= now) return undefined
    const age = Math.floor((now - entry.storedAt) / 1000)
    return withTtls(entry.answer, ttl => Math.max(ttl - age, 0))
  }

  /** For when no upstream answers: what ended less than a minute ago. */
  stale(key: string): Answer | undefined {
    const entry = this.#use(key)
    return entry && withTtls(entry.answer, () => staleTtl)
  }

  put(key: string, answer: Answer): void {
    const seconds = lifetime(answer)
    if (seconds === 0) return
    this.#remove(key)
    const size = answer.body.length + 2 * key.length + entryOverhead + recordOverhead * answer.records.length
    const storedAt = this.#options.now()
    this.#entries.set(key, { answer, storedAt, expiresAt: storedAt + seconds * 1000, size })
    this.#bytes += size
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#options.bytes) break
      this.#remove(oldest)
    }
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#entries.delete(key)
    this.#bytes -= entry.size
  }

  /** The entry, now the last in order of use; what is too old for anything goes. */
  #use(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    if (entry.expiresAt + staleMillis <= this.#options.now()) {
      this.#remove(key)
      return undefined
    }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry
  }
}
