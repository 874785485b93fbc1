/**
 * What of the host's own rules stands in the way of containers: a drop in
 * another table wins over our accept. Pure: reads rules as libnftables' JSON
 * and iptables-save give them, and follows a packet through them.
 */

/** What a rule asks of a packet, so far as it is understood. */
export interface Condition {
  of: 'iifname' | 'oifname' | 'state' | 'status' | 'other'
  values: string[]
  negated: boolean
}

export interface ForeignRule {
  conditions: Condition[]
  verdict: 'accept' | 'drop' | 'reject' | 'return' | 'jump' | 'goto' | 'none'
  /** Chain of a jump. */
  target: string
  comment?: string
  handle?: number
}

export interface ForeignChain {
  /** `ip filter` */
  table: string
  name: string
  /** Of a chain at the forward hook; others are jumped to. */
  policy?: 'accept' | 'drop'
  rules: ForeignRule[]
  /** By iptables from before nftables. */
  legacy?: boolean
}

type Json = Record<string, unknown>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

/** `"established"`, `["a", "b"]` or `{"set": ["a", "b"]}`; undefined for what is none of words. */
const wordsOf = (right: unknown): string[] | undefined => {
  const list = isObject(right) && Array.isArray(right['set']) ? right['set'] : right
  const words = Array.isArray(list) ? list : [list]
  return words.every(word => typeof word === 'string') ? (words as string[]) : undefined
}

const other: Condition = { of: 'other', values: [], negated: false }

const subjectOf = (left: unknown): Condition['of'] => {
  if (!isObject(left)) return 'other'
  const key = isObject(left['meta']) ? left['meta']['key'] : undefined
  if (key === 'iifname' || key === 'oifname') return key
  if (key === 'iif' || key === 'oif') return `${key}name`
  const ct = isObject(left['ct']) ? left['ct']['key'] : undefined
  return ct === 'state' || ct === 'status' ? ct : 'other'
}

const conditionOf = (match: Json): Condition => {
  const of = subjectOf(match['left'])
  const values = wordsOf(match['right'])
  if (of === 'other' || !values) return other
  return { of, values, negated: match['op'] === '!=' }
}

const verdicts = ['accept', 'drop', 'return'] as const

/** Statements that neither ask nor end anything. */
const harmless = ['counter', 'log', 'comment', 'mangle', 'limit']

const readStatement = (statement: unknown, rule: ForeignRule): void => {
  if (!isObject(statement)) {
    rule.conditions.push(other)
    return
  }
  const match = statement['match']
  const verdict = verdicts.find(name => name in statement)
  if (isObject(match)) rule.conditions.push(conditionOf(match))
  else if (verdict) rule.verdict = verdict
  else if ('reject' in statement) rule.verdict = 'reject'
  else if (isObject(statement['jump']) || isObject(statement['goto'])) {
    rule.verdict = 'jump' in statement ? 'jump' : 'goto'
    const to = statement[rule.verdict]
    rule.target = isObject(to) ? String(to['target']) : ''
  } else if (isObject(statement['xt']) && statement['xt']['name'] === 'REJECT') rule.verdict = 'reject'
  else if ('limit' in statement || !harmless.some(name => name in statement)) rule.conditions.push(other)
}

/** A rule of libnftables' JSON. */
export const readRule = ({ expr, comment, handle }: Json): ForeignRule => {
  const rule: ForeignRule = { conditions: [], verdict: 'none', target: '' }
  for (const statement of Array.isArray(expr) ? expr : []) readStatement(statement, rule)
  if (typeof comment === 'string') rule.comment = comment
  if (typeof handle === 'number') rule.handle = handle
  return rule
}

const targets: Record<string, ForeignRule['verdict']> = {
  ACCEPT: 'accept',
  DROP: 'drop',
  REJECT: 'reject',
  RETURN: 'return',
}

/** What of a rule's options ask nothing. */
const silent = ['-m', '--comment', '--reject-with', '--log-prefix', '--log-level']

const readLegacyRule = (words: string[]): ForeignRule => {
  const rule: ForeignRule = { conditions: [], verdict: 'none', target: '' }
  let negated = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (word === '!') {
      negated = true
      continue
    }
    const value = words[++i] ?? ''
    const values = [value.replace(/\+$/, '*')]
    if (word === '-i') rule.conditions.push({ of: 'iifname', values, negated })
    else if (word === '-o') rule.conditions.push({ of: 'oifname', values, negated })
    else if (word === '--ctstate' || word === '--state')
      rule.conditions.push({ of: 'state', values: value.toLowerCase().split(','), negated })
    else if (word === '-j' || word === '-g') {
      rule.verdict = targets[value] ?? (word === '-j' ? 'jump' : 'goto')
      rule.target = value
    } else if (!silent.includes(word)) rule.conditions.push(other)
    negated = false
  }
  return rule
}

const legacyWords = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')

/** The filter table as `iptables-legacy-save -t filter` prints it. */
export const readLegacy = (text: string): ForeignChain[] => {
  const chains = new Map<string, ForeignChain>()
  for (const line of text.split('\n')) {
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? []
    if (name)
      chains.set(name, {
        ...{ table: 'ip filter', name, rules: [], legacy: true },
        ...(name === 'FORWARD' ? { policy: policy === 'DROP' ? 'drop' : 'accept' } : {}),
      })
    const [command, chain = '', ...words] = legacyWords(line)
    if (command === '-A') chains.get(chain)?.rules.push(readLegacyRule(words))
  }
  return [...chains.values()]
}

/** The first packet of a flow, as far as we know it. */
interface Packet {
  /** Undefined: any other link. */
  iifname: string | undefined
  oifname: string | undefined
  /** It goes to a published port. */
  translated: boolean
}

const nameMatches = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name

/** Undefined where it cannot be told. */
const holds = ({ of, values, negated }: Condition, packet: Packet): boolean | undefined => {
  if (of === 'other') return undefined
  let found: boolean | undefined
  if (of === 'state') found = values.includes('new')
  else if (of === 'status') found = packet.translated && values.includes('dnat')
  else {
    const name = packet[of]
    // Of another link we know no more than that it is not one of the few that are ours or the loopback.
    if (name === undefined) found = values.every(value => value === 'lo') ? false : undefined
    else found = values.some(value => nameMatches(value, name))
  }
  return found === undefined ? undefined : found !== negated
}

interface Stop {
  chain: ForeignChain
  how: 'drop' | 'reject' | 'policy'
}

type Outcome = 'accept' | 'return' | Stop

const deepest = 16

/** What becomes of a packet in a chain, where rules that we cannot judge do not match. */
const follow = (
  chain: ForeignChain,
  packet: Packet,
  { chains, depth }: { chains: Map<string, ForeignChain>; depth: number },
): Outcome => {
  for (const rule of chain.rules) {
    if (!rule.conditions.every(condition => holds(condition, packet) === true)) continue
    const { verdict } = rule
    if (verdict === 'accept' || verdict === 'return') return verdict
    if (verdict === 'drop' || verdict === 'reject') return { chain, how: verdict }
    const next = chains.get(`${chain.table} ${rule.target}`)
    if (!next || depth === deepest) continue
    const outcome = follow(next, packet, { chains, depth: depth + 1 })
    if (outcome !== 'return') return outcome
    if (verdict === 'goto') return 'return'
  }
  return 'return'
}

export interface Block {
  /** `ip filter` */
  table: string
  /** Where the packet is stopped, and the chain at the hook that leads there. */
  chain: string
  base: string
  how: Stop['how']
  legacy: boolean
  link: string
  /** What containers send, or what is for them. */
  direction: 'out' | 'in'
}

const packets = (link: string): [Block['direction'], Packet][] => [
  ['out', { iifname: link, oifname: undefined, translated: false }],
  ['in', { iifname: undefined, oifname: link, translated: true }],
]

/** Where traffic of these bridges is stopped by rules of others. */
export const findBlocks = (list: ForeignChain[], links: string[]): Block[] => {
  const byTable = (legacy: boolean): Map<string, ForeignChain> =>
    new Map(
      list
        .filter(chain => (chain.legacy ?? false) === legacy)
        .map(chain => [`${chain.table} ${chain.name}`, chain]),
    )
  const chains = { nftables: byTable(false), legacy: byTable(true) }
  return list.flatMap(base => {
    const { policy, legacy = false } = base
    if (!policy) return []
    return links.flatMap(link =>
      packets(link).flatMap(([direction, packet]) => {
        const found = follow(base, packet, { chains: legacy ? chains.legacy : chains.nftables, depth: 0 })
        const stop: Outcome = found === 'return' && policy === 'drop' ? { chain: base, how: 'policy' } : found
        if (typeof stop === 'string') return []
        const where = { table: base.table, chain: stop.chain.name, base: base.name }
        return [{ ...where, how: stop.how, legacy, link, direction }]
      }),
    )
  })
}

/** What to do about it, in the words of whoever made the rules. */
const remedy = ({ table, chain, legacy }: Block, chains: ForeignChain[], links: string[]): string => {
  const each = (command: (link: string) => string): string => links.map(command).join('; ')
  const has = (pattern: RegExp): boolean =>
    chains.some(other => other.table === table && pattern.test(other.name))
  if (has(/^ufw-/)) return each(link => `ufw route allow in on ${link}; ufw route allow out on ${link}`)
  if (table.endsWith(' firewalld'))
    return each(
      link => `firewall-cmd --permanent --zone=trusted --add-interface=${link}; firewall-cmd --reload`,
    )
  if (table === 'ip filter') {
    const program = legacy ? 'iptables-legacy' : 'iptables'
    const into = has(/^DOCKER-USER$/) ? 'DOCKER-USER' : 'FORWARD'
    return each(
      link => `${program} -I ${into} -i ${link} -j ACCEPT; ${program} -I ${into} -o ${link} -j ACCEPT`,
    )
  }
  return each(
    link =>
      `nft insert rule ${table} ${chain} iifname ${link} accept; nft insert rule ${table} ${chain} oifname ${link} accept`,
  )
}

const saidAtMost = 3

/** One sentence for each chain that stops something: what blocks what, and what to do. */
export const describeBlocks = (blocks: Block[], chains: ForeignChain[]): string[] =>
  [
    ...Map.groupBy(blocks, ({ table, chain, how, legacy }) => `${table} ${chain} ${how} ${legacy}`).values(),
  ].map(group => {
    const [first] = group
    if (!first) return ''
    const links = [...new Set(group.map(({ link }) => link))]
    const directions = new Set(group.map(({ direction }) => direction))
    const named = links.slice(0, saidAtMost)
    const what = {
      out: 'what containers send elsewhere',
      in: 'what comes to published ports',
      both: 'what containers send elsewhere and what comes to published ports',
    }[directions.size === 2 ? 'both' : first.direction]
    const by = first.how === 'policy' ? 'by its policy' : `by a rule (${first.how})`
    const more = links.length > named.length ? ` and ${links.length - named.length} more` : ''
    const where = `the chain ${first.chain} of ${first.legacy ? "iptables-legacy's" : "the host's"} table ${first.table}`
    return `${where} stops ${what} (${named.join(', ')}${more}) ${by}: let it pass with: ${remedy(first, chains, named)}`
  })
