import { messageOf } from '../core/errors.ts'
import { acceptBatch } from './firewall/accept.ts'
import type { Firewall } from './firewall/firewall.ts'
import { describeBlocks, type ForeignChain, findBlocks } from './firewall/foreign.ts'
import type { RuleListener } from './netlink-watch.ts'

/** What the daemon does about rules of other programs, and about what they do to its own. */

export interface RuleGuardParts {
  firewall: Firewall
  table: string
  /** All of ours is made again. */
  restore: () => void
  onWarning: (text: string) => void
  /** Let our traffic pass rules of others by rules of ours among them (`--firewall-foreign=accept`). */
  accept: boolean
}

export class RuleGuard implements RuleListener {
  readonly #parts: RuleGuardParts
  #foreign: ForeignChain[] = []
  #warned = new Set<string>()
  /** A change of ours among the rules of others is not yet told of. */
  #changing = false
  /** Our bridges are known: before, what is for them would be taken for what is left of others. */
  #ready = false

  constructor(parts: RuleGuardParts) {
    this.#parts = parts
  }

  get table(): string {
    return this.#parts.table
  }

  disturbed(program: string): void {
    this.#again(`${program} changed Berth's own rules (table ${this.table})`)
  }

  /** A link that the rules need was deleted. */
  lost(link: string): void {
    this.#again(`the link ${link}, by which published ports are reached, was deleted`)
  }

  #again(what: string): void {
    const { onWarning, restore } = this.#parts
    onWarning(`${what}: made again`)
    try {
      restore()
    } catch (error) {
      onWarning(`Berth's rules cannot be made again: ${messageOf(error)}: restart the daemon`)
    }
  }

  foreign(chains: ForeignChain[]): void {
    this.#foreign = chains
    this.#changing = false
    this.look()
  }

  unreadable(reason: string): void {
    this.#parts.onWarning(`rules of other programs cannot be read: ${reason}`)
  }

  /** Which rules of other programs stop our containers, and what to do: a sentence each. */
  get blocks(): string[] {
    return describeBlocks(findBlocks(this.#foreign, this.#parts.firewall.bridges), this.#foreign)
  }

  /** After the first comparison of what should be with what is. */
  begin(): void {
    this.#ready = true
    this.look()
  }

  /** Does or says what was not yet: the rules or our bridges changed. */
  look(): void {
    if (!this.#ready || this.#changing || this.#changeForeign()) return
    const { blocks } = this
    for (const text of blocks) if (!this.#warned.has(text)) this.#parts.onWarning(text)
    this.#warned = new Set(blocks)
  }

  /** True where something was changed, so that the rules will be told of again. */
  #changeForeign(): boolean {
    const { firewall, accept, table, onWarning } = this.#parts
    const batch = acceptBatch(this.#foreign, { links: firewall.bridges, accept, mark: table })
    if (batch === '') return false
    try {
      firewall.runForeign(batch)
      this.#changing = true
      return true
    } catch (error) {
      onWarning(`rules of other programs cannot be changed: ${messageOf(error)}`)
      return false
    }
  }
}
