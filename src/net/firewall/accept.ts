import { type Block, type ForeignChain, findBlocks } from './foreign.ts'

/**
 * Rules in tables of others that let traffic of our bridges pass
 * (`--firewall-foreign=accept`). Each bears our table's name as its comment, by
 * which it is found again and taken back. Pure: gives a batch for nft.
 */

/** Set where somebody else keeps it for users' rules, before all of their own. */
const forUsers = 'DOCKER-USER'

interface Accept {
  /** `ip filter FORWARD` */
  chain: string
  /** `iifname "berth0"` */
  condition: string
}

const acceptOf = ({ table, base, link, direction }: Block, chains: ForeignChain[]): Accept => {
  const user = chains.some(chain => chain.table === table && chain.name === forUsers && !chain.legacy)
  return {
    chain: `${table} ${user ? forUsers : base}`,
    condition: `${direction === 'out' ? 'iifname' : 'oifname'} ${JSON.stringify(link)}`,
  }
}

interface Marked extends Accept {
  handle: number
  link: string
}

/** What bears our mark already. */
const markedRules = (chains: ForeignChain[], mark: string): Marked[] =>
  chains.flatMap(({ table, name, rules }) =>
    rules.flatMap(({ comment, handle = 0, conditions: [condition] }) => {
      const link = condition?.values[0]
      if (comment !== mark || !condition || link === undefined) return []
      return [
        { chain: `${table} ${name}`, condition: `${condition.of} ${JSON.stringify(link)}`, handle, link },
      ]
    }),
  )

export interface AcceptNeeds {
  links: string[]
  /** False: what was added before is taken back. */
  accept: boolean
  mark: string
}

/** Empty where all is as it should be. What is there already and does not help is not added again. */
export const acceptBatch = (chains: ForeignChain[], { links, accept, mark }: AcceptNeeds): string => {
  const marked = markedRules(chains, mark)
  const there = new Set(marked.map(({ chain, condition }) => `${chain} ${condition}`))
  const blocks = accept ? findBlocks(chains, links).filter(({ legacy }) => !legacy) : []
  const wanted = new Set(
    blocks.map(block => acceptOf(block, chains)).map(({ chain, condition }) => `${chain} ${condition}`),
  )
  return [
    ...[...wanted]
      .filter(text => !there.has(text))
      .map(text => `insert rule ${text} accept comment "${mark}"`),
    ...marked
      .filter(({ link }) => !accept || !links.includes(link))
      .map(({ chain, handle }) => `delete rule ${chain} handle ${handle}`),
  ].join('\n')
}
