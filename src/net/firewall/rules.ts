import type { BridgeSpec, Endpoint, PublishedPort } from '../types.ts'

/**
 * The rules as text for nft, and the elements that make them true of a
 * network or of a published port. Pure. A packet costs the same whatever the
 * number of networks and ports: what varies is in sets and maps, never in rules.
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
 * No set or map holds intervals: adding to one takes time with its size.
 */

/** Link group of every bridge and host-side veth of any Berth daemon on this machine. */
export const linkGroup = 0xbe47

/** An element as text: what identifies it, and the whole of it. */
export interface Element {
  /** Set or map that holds it. */
  set: string
  /** `tcp . 8080` */
  key: string
  /** `172.17.0.2 . 80`, or empty for a set. */
  value: string
  /** Container or network id. */
  owner: string
}

const declarations = `
  set bridges { type ifname; }
  set inside { type ifname . ifname; }
  set internal { type ifname; }
  set silent { type ifname; }
  set linked { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }
  set outgoing { type ifname; }
  map sourced { type ifname : ipv4_addr; }
  set open { type ifname; }
  set routed { type ifname; }
  set direct { type ipv4_addr . inet_proto . inet_service; }
  set trusted { type ifname . ifname; }
  set selves { type ipv4_addr . ipv4_addr; }
  map published { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map published_any { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain guard { type filter hook prerouting priority raw; policy accept; }
  chain arrive { type nat hook prerouting priority dstnat; policy accept; }
  chain local { type nat hook output priority -100; policy accept; }
  chain leave { type nat hook postrouting priority srcnat; policy accept; }
  chain pass { type filter hook forward priority filter; policy accept; }
  chain publish { }
  chain enter { }
  chain among { }
  chain foreign { }`

const chains = ['guard', 'arrive', 'local', 'leave', 'pass', 'publish', 'enter', 'among', 'foreign']

/** Rules by chain. */
const rules: [string, string][] = [
  // route_localnet lets 127.0.0.1 reach containers; nothing may come the other way by it.
  ['guard', 'iifname @bridges ip daddr 127.0.0.0/8 drop'],
  ['guard', 'iifname @bridges ip saddr 127.0.0.0/8 drop'],
  // Only the host itself reaches what is published on its loopback addresses.
  [
    'arrive',
    'meta nfproto ipv4 meta l4proto { tcp, udp } ip daddr != 127.0.0.0/8 fib daddr type local jump publish',
  ],
  ['local', 'meta nfproto ipv4 meta l4proto { tcp, udp } fib daddr type local jump publish'],
  ['publish', 'dnat ip to ip daddr . meta l4proto . th dport map @published'],
  ['publish', 'dnat ip to meta l4proto . th dport map @published_any'],
  // A neighbour on the same bridge would answer directly, past the translation.
  ['leave', 'meta nfproto ipv4 ct status dnat iifname . oifname @inside masquerade'],
  // The same for a container and itself; bridged by br_netfilter, such a packet shows no incoming interface.
  ['leave', 'ct status dnat ip saddr . ip daddr @selves masquerade'],
  ['leave', 'ip saddr 127.0.0.0/8 oifname @bridges masquerade'],
  ['leave', 'meta nfproto ipv4 oifname != @bridges snat ip to iifname map @sourced'],
  ['leave', 'meta nfproto ipv4 iifname @outgoing oifname != @bridges masquerade'],
  ['pass', 'iifname @internal iifname . oifname != @inside drop'],
  ['pass', 'oifname @internal iifname . oifname != @inside drop'],
  ['pass', 'ct state established,related accept'],
  ['pass', 'oifname @bridges jump enter'],
  ['pass', 'iifname @bridges accept'],
  ['pass', 'jump foreign'],
  ['enter', 'ct status dnat accept'],
  ['enter', 'iifname . oifname @inside jump among'],
  ['enter', 'iifname @bridges drop'],
  ['enter', 'oifname @open accept'],
  ['enter', 'oifname @routed meta l4proto { icmp, ipv6-icmp } accept'],
  ['enter', 'oifname @routed ip daddr . meta l4proto . th dport @direct accept'],
  ['enter', 'iifname . oifname @trusted ip daddr . meta l4proto . th dport @direct accept'],
  ['enter', 'drop'],
  ['among', 'oifname != @silent accept'],
  ['among', 'ip saddr . ip daddr . meta l4proto . th dport @linked accept'],
  ['among', 'drop'],
]

/** Where we turned forwarding on, the host does not become a router for others. */
const foreignRules = [`meta nfproto ipv4 meta iifgroup != ${linkGroup} meta oifgroup != ${linkGroup} drop`]

/**
 * A batch that brings all rules to what they should be and leaves the elements
 * alone; on an empty machine it makes everything.
 */
export const rulesBatch = (table: string, dropForeign: boolean): string => {
  const added = [...rules, ...(dropForeign ? foreignRules.map(rule => ['foreign', rule]) : [])]
  return [
    `table ${table} {${declarations}\n}`,
    ...chains.map(chain => `flush chain ${table} ${chain}`),
    ...added.map(([chain, rule]) => `add rule ${table} ${chain} ${rule}`),
  ].join('\n')
}

/** The same from nothing, where an older layout stands in the way. */
export const rebuildBatch = (table: string, dropForeign: boolean): string =>
  `add table ${table}\ndelete table ${table}\n${rulesBatch(table, dropForeign)}`

export const flushBatch = (table: string): string => `add table ${table}\ndelete table ${table}`

export const bridgeElements = (bridge: BridgeSpec): Element[] => {
  const { link, networkId: owner, gatewayMode } = bridge
  const name = JSON.stringify(link)
  const found: Element[] = []
  const add = (set: string, key = name, value = ''): void => {
    found.push({ set, key, value, owner })
  }
  add('bridges')
  add('inside', `${name} . ${name}`)
  if (bridge.internal) add('internal')
  if (!bridge.icc) add('silent')
  const translated = !bridge.internal && gatewayMode !== 'routed'
  if (translated && bridge.masquerade && bridge.sourceAddress) add('sourced', name, bridge.sourceAddress)
  else if (translated && bridge.masquerade) add('outgoing')
  if (gatewayMode === 'nat-unprotected') add('open')
  if (gatewayMode === 'routed') add('routed')
  for (const host of bridge.trusted) add('trusted', `${JSON.stringify(host)} . ${name}`)
  return found
}

interface PortOwner {
  containerId: string
  /** Address of the container. */
  ipv4: string
}

const portElement = (port: PublishedPort, { containerId, ipv4 }: PortOwner): Element => {
  const any = port.hostIp === '0.0.0.0'
  const key = `${port.protocol} . ${port.hostPort}`
  return {
    set: any ? 'published_any' : 'published',
    key: any ? key : `${port.hostIp} . ${key}`,
    value: `${ipv4} . ${port.containerPort}`,
    owner: containerId,
  }
}

const directElement = (
  { protocol, containerPort }: PublishedPort,
  { containerId, ipv4 }: PortOwner,
): Element => ({
  set: 'direct',
  key: `${ipv4} . ${protocol} . ${containerPort}`,
  value: '',
  owner: containerId,
})

const once = (elements: Element[]): Element[] => [
  ...new Map(elements.map(element => [`${element.set} ${element.key}`, element])).values(),
]

/** What an endpoint reaches by links. */
export const linkElements = ({ ipv4, containerId: owner, linked = [] }: Endpoint): Element[] =>
  once(
    linked.map(({ ipv4: to, protocol, port }) => ({
      set: 'linked',
      key: `${ipv4} . ${to} . ${protocol} . ${port}`,
      value: '',
      owner,
    })),
  )

/** The elements of an endpoint: nothing where it publishes nothing and links to nothing. */
export const endpointElements = (endpoint: Endpoint): Element[] => [
  ...linkElements(endpoint),
  ...publishingElements(endpoint),
]

const publishingElements = (endpoint: Endpoint): Element[] => {
  const { ipv4, containerId: owner, published, exposure = 'translated' } = endpoint
  if (published.length === 0) return []
  const self = { set: 'selves', key: `${ipv4} . ${ipv4}`, value: '', owner }
  // One container port may be published at several of the host's.
  const direct = exposure === 'translated' ? [] : once(published.map(port => directElement(port, endpoint)))
  if (exposure === 'direct') return direct
  return [self, ...direct, ...published.map(port => portElement(port, endpoint))]
}

const bySet = (elements: Element[]): Map<string, Element[]> => Map.groupBy(elements, ({ set }) => set)

const quoted = (owner: string): string => (owner === '' ? '' : ` comment "${owner}"`)

/** One `add element` a set. */
export const addElements = (table: string, elements: Element[]): string =>
  [...bySet(elements)]
    .map(([set, members]) => {
      const texts = members.map(
        ({ key, value, owner }) => `${key}${quoted(owner)}${value === '' ? '' : ` : ${value}`}`,
      )
      return `add element ${table} ${set} { ${texts.join(', ')} }`
    })
    .join('\n')

/** One `delete element` a set; refused as a whole where one of them is absent. */
export const deleteElements = (table: string, elements: Element[]): string =>
  [...bySet(elements)]
    .map(([set, members]) => `delete element ${table} ${set} { ${members.map(({ key }) => key).join(', ')} }`)
    .join('\n')
