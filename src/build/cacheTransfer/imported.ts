import type { ImportedResult, ImportedResults, KeyDigest } from '../solver/types.ts'
import type { ImportedRecord } from './types.ts'

/** What was read of caches, by its keys: the first that has one is asked. */
export class ImportedCache implements ImportedResults {
  readonly #results = new Map<KeyDigest, ImportedResult>()
  readonly #chains = new Map<KeyDigest, KeyDigest>()
  readonly #bases = new Set<KeyDigest>()

  add(records: readonly ImportedRecord[]): void {
    for (const { keys, chain, bases, result } of records) {
      for (const key of keys) {
        if (result && !this.#results.has(key)) this.#results.set(key, result)
        if (!this.#chains.has(key)) this.#chains.set(key, chain)
      }
      for (const base of bases) this.#bases.add(base)
    }
  }

  find(key: KeyDigest): ImportedResult | undefined {
    return this.#results.get(key)
  }

  chain(key: KeyDigest): KeyDigest | undefined {
    return this.#chains.get(key)
  }

  isBase(chain: KeyDigest): boolean {
    return this.#bases.has(chain)
  }
}
