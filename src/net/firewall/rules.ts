import type { Family } from '../subnets.ts'
import type { Detour } from '../types.ts'

/**
 * The rules as text for nft. Pure. A packet costs the same whatever the number
 * of networks and ports: what varies is in sets and maps (elements.ts), never
 * in rules.
 *
 * - `bridges`: all our bridges.
 * - `inside`: pairs (in, out) of bridges between which traffic may flow: each with itself.
 * - `internal`: bridges that nothing leaves or enters.
 * - `silent`: bridges whose containers reach one another only where they are `linked`: (from, to, protocol, port).
 * - `outgoing`: bridges whose traffic leaves under the host's address; `sourced`: under this one.
 * - `open`: bridges whose containers can be reached at all their ports; `routed`: by ping, and at `direct` ones:
 *   (address, protocol, port); `trusted`: pairs (in, out) for which `direct` ones are open, too.
 * - `selves`: pairs (address, same address) of containers that publish.
 * - `published`, `published_any`: where a port of one, or of any host address goes.
 *
 * With firewall mode `host` (see detour.ts) there are besides
 *
 * - `within`: the subnet of each bridge: what comes from there has gone round by the detour, and is a container's.
 * - `asked`, `asked_any`: published ports for which the host's INPUT is asked, in a table of their own, for only one
 *   of the family `ip` can copy a packet; `unasked`: bridges whose containers reach nothing outside.
 *
 * What holds addresses, or may differ between the families, is there twice: with a 6 at its end for IPv6. No rule
 * leads IPv6's loopback address to a container: the kernel would not let such a packet out. With firewall mode
 * `host` nothing is published for IPv6, since the kernel's copies are of IPv4 alone.
 *
 * No set or map holds intervals, since adding to one takes time with its size,
 * but for those that stay small: subnets, and long runs of ports (`…_ranges`).
 */

/** Link group of every bridge and host-side veth of any Berth daemon on this machine. */
export const linkGroup = 0xbe47

export interface RuleSettings {
  table: string
  /** Families whose forwarding we turned on: the host does not become a router for others. */
  dropForeign: readonly Family[]
  /** IPv6 has rules; else it passes as it comes. */
  ipv6: boolean
  /** Undefined in firewall mode `open`. Its links are there already: a rule finds one when it is made. */
  asking: Detour | undefined
  /** Published ports are open under the containers' own addresses to everyone. */
  directRouting?: boolean | undefined
  /** What bears this mark is let pass to containers. */
  acceptMark?: { mark: number; mask: number } | undefined
}

/** The end of the names of what is there for each family. */
export const suffixOf = (family: Family): string => (family === 4 ? '' : '6')

const familyDeclarations = (family: Family): string =>
  `
  set linked { type ADDR . ADDR . inet_proto . inet_service; }
  set outgoing { type ifname; }
  map sourced { type ifname : ADDR; }
  set open { type ifname; }
  set routed { type ifname; }
  set direct { type ADDR . inet_proto . inet_service; }
  set direct_ranges { type ADDR . inet_proto . inet_service; flags interval; }
  set selves { type ADDR . ADDR; }
  map published { type ADDR . inet_proto . inet_service : ADDR . inet_service; }
  map published_any { type inet_proto . inet_service : ADDR . inet_service; }
  map published_ranges { type ADDR . inet_proto . inet_service : ADDR; flags interval; }
  map published_any_ranges { type inet_proto . inet_service : ADDR; flags interval; }
  chain publish { }`
    .replaceAll(/^( {2}(?:set|map|chain) \w+)/gm, `$1${suffixOf(family)}`)
    .replaceAll('ADDR', `ipv${family}_addr`)

const declarations = `
  set bridges { type ifname; }
  set inside { type ifname . ifname; }
  set internal { type ifname; }
  set silent { type ifname; }
  set trusted { type ifname . ifname; }
  set within { type ipv4_addr; flags interval; }${familyDeclarations(4)}${familyDeclarations(6)}
  chain guard { type filter hook prerouting priority raw; policy accept; }
  chain emerge { type filter hook prerouting priority 10000; policy accept; }
  chain arrive { type nat hook prerouting priority dstnat; policy accept; }
  chain local { type nat hook output priority -100; policy accept; }
  chain leave { type nat hook postrouting priority srcnat; policy accept; }
  chain unmark { type filter hook forward priority -400; policy accept; }
  chain pass { type filter hook forward priority filter; policy accept; }
  chain enter { }
  chain among { }
  chain foreign { }`

const chains = [
  ...[
    'guard',
    'emerge',
    'arrive',
    'local',
    'leave',
    'unmark',
    'pass',
    'publish',
    'publish6',
    'enter',
    'among',
  ],
  'foreign',
]

type Rule = [chain: string, text: string]

const published = (family: Family): string =>
  `meta nfproto ipv${family} meta l4proto { tcp, udp } fib daddr type local`

/** Rules of one family by chain: `ip`, sets and the chain `publish` are those of the family. */
const ofFamily = (family: Family, list: Rule[]): Rule[] =>
  list.map(([chain, text]) => [
    chain === 'publish' ? `publish${suffixOf(family)}` : chain,
    text
      .replaceAll(/\bip (?=saddr|daddr|to)/g, `ip${suffixOf(family)} `)
      .replaceAll(/@(\w+)/g, (_, set: string) => `@${set}${shared.has(set) ? '' : suffixOf(family)}`)
      .replaceAll('jump publish', `jump publish${suffixOf(family)}`)
      .replaceAll('FAMILY', `meta nfproto ipv${family}`),
  ])

/** Sets that are the same for both families. */
const shared = new Set(['bridges', 'inside', 'internal', 'silent', 'trusted', 'within'])

const familyRules: Rule[] = [
  ['publish', 'dnat ip to ip daddr . meta l4proto . th dport map @published'],
  ['publish', 'dnat ip to meta l4proto . th dport map @published_any'],
  // Only the address changes: a range goes to the same ports.
  ['publish', 'dnat ip to ip daddr . meta l4proto . th dport map @published_ranges'],
  ['publish', 'dnat ip to meta l4proto . th dport map @published_any_ranges'],
  // A neighbour on the same bridge would answer directly, past the translation; one on another may be on this one, too.
  ['leave', 'FAMILY ct status dnat iifname @bridges oifname @bridges masquerade'],
  // The same for a container and itself; bridged by br_netfilter, such a packet shows no incoming interface.
  ['leave', 'ct status dnat ip saddr . ip daddr @selves masquerade'],
  ['leave', 'FAMILY oifname != @bridges snat ip to iifname map @sourced'],
  ['leave', 'FAMILY iifname @outgoing oifname != @bridges masquerade'],
]

/** What may enter, behind what is translated or comes from within. */
const familyEntrances: Rule[] = [
  ['enter', 'FAMILY oifname @open accept'],
  ['enter', 'oifname @routed ip daddr . meta l4proto . th dport @direct accept'],
  ['enter', 'oifname @routed ip daddr . meta l4proto . th dport @direct_ranges accept'],
  ['enter', 'iifname . oifname @trusted ip daddr . meta l4proto . th dport @direct accept'],
  ['enter', 'iifname . oifname @trusted ip daddr . meta l4proto . th dport @direct_ranges accept'],
]

const both = (rules: Rule[]): Rule[] => [...ofFamily(4, rules), ...ofFamily(6, rules)]

/** Rules by chain, whatever the mode. */
const rules: Rule[] = [
  // route_localnet lets 127.0.0.1 reach containers; nothing may come the other way by it.
  // Every packet passes here: the set is looked into last.
  ['guard', 'ip daddr 127.0.0.0/8 iifname @bridges drop'],
  ['guard', 'ip saddr 127.0.0.0/8 iifname @bridges drop'],
  ['local', `${published(4)} jump publish`],
  ['local', `ip6 daddr != ::1 ${published(6)} jump publish6`],
  ...both(familyRules),
  ['leave', 'ip saddr 127.0.0.0/8 oifname @bridges masquerade'],
  // First, since it is for nearly every packet: what a first packet may not begin is never established.
  ['pass', 'ct state established,related accept'],
  ['pass', 'iifname @internal iifname . oifname != @inside drop'],
  ['pass', 'oifname @internal iifname . oifname != @inside drop'],
  ['pass', 'oifname @bridges jump enter'],
  ['pass', 'iifname @bridges accept'],
  ['pass', 'jump foreign'],
  ['enter', 'ct status dnat accept'],
  ['enter', 'iifname . oifname @inside jump among'],
  ['enter', 'iifname @bridges drop'],
  ['enter', 'oifname @routed meta l4proto icmp accept'],
  ['enter', 'oifname @routed6 meta l4proto ipv6-icmp accept'],
  ...both(familyEntrances),
  ['among', 'oifname != @silent accept'],
  // How neighbours find each other's links.
  ['among', 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'],
  ...both([['among', 'ip saddr . ip daddr . meta l4proto . th dport @linked accept']]),
  ['among', 'drop'],
]

const openRules: Rule[] = [
  // Only the host itself reaches what is published on its loopback addresses.
  ['arrive', `ip daddr != 127.0.0.0/8 ${published(4)} jump publish`],
  ['arrive', `${published(6)} jump publish6`],
]

const withoutIpv6: Rule[] = [['pass', 'meta nfproto ipv6 accept']]

const askedRules = ({ back, mark }: Detour): Rule[] => [
  ['arrive', `iifname "${back}" ip daddr != 127.0.0.0/8 ${published(4)} jump publish`],
  // The copy was made unfit to be fragmented, which a datagram may have to be.
  ['emerge', `iifname "${back}" meta nfproto ipv4 meta mark set ${mark} ip frag-off set 0`],
  ['unmark', `iifname "${back}" meta mark set 0`],
  ['leave', `iifname "${back}" ct status dnat ip saddr @within masquerade`],
]

/** Stand before the chain's last word, and before its first. */
const directRules: Rule[] = both([
  ['enter', 'ip daddr . meta l4proto . th dport @direct accept'],
  ['enter', 'ip daddr . meta l4proto . th dport @direct_ranges accept'],
])

const markRules = ({ mark, mask }: { mark: number; mask: number }): Rule[] => [
  ['enter', `meta mark and ${mask} == ${mark} accept`],
]

const foreignRule = (family: Family): Rule => [
  'foreign',
  `meta nfproto ipv${family} meta iifgroup != ${linkGroup} meta oifgroup != ${linkGroup} drop`,
]

const askDeclarations = `
  set asked { type ipv4_addr . inet_proto . inet_service; }
  set asked_any { type inet_proto . inet_service; }
  set asked_ranges { type ipv4_addr . inet_proto . inet_service; flags interval; }
  set asked_any_ranges { type inet_proto . inet_service; flags interval; }
  set unasked { type ifname; }
  chain ask { type filter hook input priority 10000; policy accept; }
  chain pass { }`

/** Of the dummy addresses of RFC 7600: no one is ever asked for it. */
const nowhere = '192.0.0.8'

const askRules = ({ ask, back }: Detour): Rule[] => [
  // What comes back untranslated, because the port is published no more, must not go round again.
  ['ask', `iifname "${back}" drop`],
  ['ask', 'iifname "lo" accept'],
  ['ask', 'iifname @unasked accept'],
  ['ask', 'ct state != new accept'],
  ['ask', 'ip daddr . meta l4proto . th dport @asked jump pass'],
  ['ask', 'fib daddr type local meta l4proto . th dport @asked_any jump pass'],
  ['ask', 'ip daddr . meta l4proto . th dport @asked_ranges jump pass'],
  ['ask', 'fib daddr type local meta l4proto . th dport @asked_any_ranges jump pass'],
  ['pass', `dup to ${nowhere} device "${ask}"`],
  ['pass', 'drop'],
]

const mainRules = ({ dropForeign, ipv6, asking, directRouting, acceptMark }: RuleSettings): Rule[] => [
  ...(ipv6 ? [] : withoutIpv6),
  ...(acceptMark ? markRules(acceptMark) : []),
  ...rules,
  ...(directRouting ? directRules : []),
  ['enter', 'drop'],
  ...(asking ? askedRules(asking) : openRules),
  ...dropForeign.map(foreignRule),
]

const emptied = (table: string, names: string[]): string[] =>
  names.map(chain => `flush chain ${table} ${chain}`)

const added = (table: string, list: Rule[]): string[] =>
  list.map(([chain, rule]) => `add rule ${table} ${chain} ${rule}`)

const without = (table: string): string => `add table ${table}\ndelete table ${table}`

export const flushBatch = (table: string): string => `${without(`inet ${table}`)}\n${without(`ip ${table}`)}`

/** Takes away what firewall mode `host` needs. */
export const unaskedBatch = (table: string): string => without(`ip ${table}`)

/**
 * A batch that brings all rules to what they should be and leaves the elements
 * alone; on an empty machine it makes everything.
 */
export const rulesBatch = (settings: RuleSettings): string => {
  const { table, asking } = settings
  const [main, other] = [`inet ${table}`, `ip ${table}`]
  return [
    `table ${main} {${declarations}\n}`,
    ...emptied(main, chains),
    ...added(main, mainRules(settings)),
    ...(asking ? [`table ${other} {${askDeclarations}\n}`, ...emptied(other, ['ask', 'pass'])] : []),
    ...(asking ? added(other, askRules(asking)) : []),
  ].join('\n')
}

/** The same from nothing, where an older layout stands in the way. */
export const rebuildBatch = (settings: RuleSettings): string =>
  `${flushBatch(settings.table)}\n${rulesBatch(settings)}`

/** Refused where this kernel cannot copy packets; leaves nothing. */
export const askingProbe = (table: string): string =>
  [
    `add table ip ${table}-probe`,
    `add chain ip ${table}-probe ask { type filter hook input priority 10000; policy accept; }`,
    `add rule ip ${table}-probe ask iifname "lo" dup to ${nowhere} device "lo"`,
    `delete table ip ${table}-probe`,
  ].join('\n')
