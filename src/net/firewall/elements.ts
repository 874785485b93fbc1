import { type Family, familyOf, networkOf } from '../subnets.ts'
import type { BridgeSpec, Endpoint, Exposure, GatewayMode, Protocol, PublishedPort } from '../types.ts'
import { suffixOf } from './rules.ts'

/** The elements of sets and maps that make the rules true of a network or of a published port. Pure. */

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

const askSets = new Set(['asked', 'asked_any', 'asked_ranges', 'asked_any_ranges', 'unasked'])

/** The table that has a set. */
const tableOf = (table: string, set: string): string => `${askSets.has(set) ? 'ip' : 'inet'} ${table}`

export interface ElementOptions {
  /** Firewall mode `host`. */
  asks: boolean
  /** Published ports are open under the containers' own addresses, too. */
  direct: boolean
  /** There are rules for IPv6. */
  ipv6: boolean
}

interface Exit {
  gatewayMode: GatewayMode
  /** Empty for that of the outgoing interface. */
  sourceAddress: string
}

/** In which sets a bridge is, for how its containers and the world meet in a family. */
const exitSets = (
  { gatewayMode, sourceAddress }: Exit,
  bridge: BridgeSpec,
): [set: string, value: string][] => {
  const translated = !bridge.internal && gatewayMode !== 'routed' && bridge.masquerade
  return [
    ...(translated
      ? [sourceAddress ? (['sourced', sourceAddress] as const) : (['outgoing', ''] as const)]
      : []),
    ...(gatewayMode === 'nat-unprotected' ? [['open', ''] as const] : []),
    ...(gatewayMode === 'routed' ? [['routed', ''] as const] : []),
  ].map(([set, value]) => [set, value])
}

export const bridgeElements = (bridge: BridgeSpec, { asks, ipv6 }: ElementOptions): Element[] => {
  const { link, networkId: owner } = bridge
  const name = JSON.stringify(link)
  const found: Element[] = []
  const add = (set: string, key = name, value = ''): void => {
    found.push({ set, key, value, owner })
  }
  add('bridges')
  add('inside', `${name} . ${name}`)
  if (bridge.internal) add('internal')
  if (!bridge.icc) add('silent')
  for (const [set, value] of exitSets(bridge, bridge)) add(set, name, value)
  if (bridge.ipv6 && ipv6)
    for (const [set, value] of exitSets(bridge.ipv6, bridge)) add(`${set}6`, name, value)
  for (const host of bridge.trusted) add('trusted', `${JSON.stringify(host)} . ${name}`)
  if (!asks) return found
  const { address, prefix } = networkOf(bridge.subnet)
  add('within', `${address}/${prefix}`)
  if (bridge.internal) add('unasked')
  return found
}

/** Ports that follow one another and go to the same ports of the container. */
interface Run {
  protocol: Protocol
  hostIp: string
  first: number
  last: number
}

/** From this many ports on a run is one element. */
const longRun = 32

/** What of these ports is in long runs, and the rest. */
const splitRuns = (ports: PublishedPort[]): { runs: Run[]; single: PublishedPort[] } => {
  const runs: Run[] = []
  const single: PublishedPort[] = []
  if (ports.length < longRun) return { runs, single: ports }
  const key = ({ protocol, hostIp, hostPort, containerPort }: PublishedPort): string =>
    `${protocol} ${hostIp} ${hostPort - containerPort}`
  for (const group of Map.groupBy(ports, key).values()) {
    const sorted = group.toSorted((a, b) => a.hostPort - b.hostPort)
    for (let start = 0; start < sorted.length; ) {
      let end = start + 1
      while (sorted[end]?.hostPort === (sorted[start]?.hostPort ?? 0) + end - start) end++
      const run = sorted.slice(start, end)
      const [first] = run
      if (first && run.length >= longRun && first.hostPort === first.containerPort)
        runs.push({ ...first, first: first.hostPort, last: first.hostPort + run.length - 1 })
      else single.push(...run)
      start = end
    }
  }
  return { runs, single }
}

interface PortOwner {
  containerId: string
  /** Address of the container. */
  address: string
}

interface Place {
  protocol: Protocol
  hostIp: string
  /** `8080` or `20000-29999` */
  port: string
}

const anyAddresses: readonly string[] = ['0.0.0.0', '::']

/** In which of two sets, by a name in common, and under which key. */
const placed = (name: string, { protocol, hostIp, port }: Place): Pick<Element, 'set' | 'key'> => {
  const any = anyAddresses.includes(hostIp)
  const set = `${name}${any ? '_any' : ''}${port.includes('-') ? '_ranges' : ''}`
  return { set, key: any ? `${protocol} . ${port}` : `${hostIp} . ${protocol} . ${port}` }
}

const isLoopback = (address: string): boolean => address.startsWith('127.')

const translatedElements = (
  ports: PublishedPort[],
  { containerId: owner, address }: PortOwner,
  { asks }: ElementOptions,
): Element[] => {
  const { runs, single } = splitRuns(ports)
  const places: { place: Place; value: string }[] = [
    ...runs.map(run => ({ place: { ...run, port: `${run.first}-${run.last}` }, value: address })),
    ...single.map(port => ({
      place: { ...port, port: String(port.hostPort) },
      value: `${address} . ${port.containerPort}`,
    })),
  ]
  return places.flatMap(({ place, value }) => {
    const element = { ...placed('published', place), value, owner }
    // What is published on loopback comes from the host itself alone.
    return asks && !isLoopback(place.hostIp)
      ? [element, { ...placed('asked', place), value: '', owner }]
      : [element]
  })
}

const directElements = (ports: PublishedPort[], { containerId: owner, address }: PortOwner): Element[] => {
  // One container port may be published at several of the host's.
  const opened = new Map(
    ports.map(({ protocol, containerPort }) => [
      `${protocol} ${containerPort}`,
      { protocol, containerPort, hostPort: containerPort, hostIp: address },
    ]),
  )
  const { runs, single } = splitRuns([...opened.values()])
  const places = [
    ...runs.map(run => ({ ...run, port: `${run.first}-${run.last}` })),
    ...single.map(port => ({ ...port, port: String(port.hostPort) })),
  ]
  return places.map(place => ({ ...placed('direct', place), value: '', owner }))
}

const inFamily = (family: Family, element: Element): Element => ({
  ...element,
  set: `${element.set}${suffixOf(family)}`,
})

interface FamilyPorts extends PortOwner {
  family: Family
  ports: PublishedPort[]
  exposure: Exposure
}

const familyElements = (
  { family, ports, exposure, ...owner }: FamilyPorts,
  options: ElementOptions,
): Element[] => {
  if (ports.length === 0) return []
  const { address, containerId } = owner
  const self = { set: 'selves', key: `${address} . ${address}`, value: '', owner: containerId }
  const opened = exposure !== 'translated' || options.direct
  const direct = opened ? directElements(ports, owner) : []
  const all = exposure === 'direct' ? direct : [self, ...direct, ...translatedElements(ports, owner, options)]
  return all.map(element => inFamily(family, element))
}

/** A port that is opened under the container's own address of IPv4 names none of the host's. */
const ofFamily = (ports: PublishedPort[], family: Family): PublishedPort[] =>
  ports.filter(({ hostIp }) => familyOf(hostIp) === family)

const publishingElements = (endpoint: Endpoint, options: ElementOptions): Element[] => {
  const { ipv4, ipv6, containerId, published, exposure = 'translated' } = endpoint
  const own = { containerId, exposure }
  return [
    ...familyElements({ ...own, family: 4, address: ipv4, ports: ofFamily(published, 4) }, options),
    ...(ipv6 && options.ipv6
      ? familyElements(
          {
            ...own,
            family: 6,
            address: ipv6,
            ports: ofFamily(published, 6),
            exposure: endpoint.exposure6 ?? exposure,
          },
          { ...options, asks: false },
        )
      : []),
  ]
}

/** What an endpoint reaches by links. */
export const linkElements = ({ ipv4, containerId: owner, linked = [] }: Endpoint): Element[] => {
  const keys = new Set(
    linked.map(({ ipv4: to, protocol, port }) => `${ipv4} . ${to} . ${protocol} . ${port}`),
  )
  return [...keys].map(key => ({ set: 'linked', key, value: '', owner }))
}

/** The elements of an endpoint: nothing where it publishes nothing and links to nothing. */
export const endpointElements = (endpoint: Endpoint, options: ElementOptions): Element[] => [
  ...linkElements(endpoint),
  ...publishingElements(endpoint, options),
]

const bySet = (elements: Element[]): Map<string, Element[]> => Map.groupBy(elements, ({ set }) => set)

const quoted = (owner: string): string => (owner === '' ? '' : ` comment "${owner}"`)

/** One `add element` a set. */
export const addElements = (table: string, elements: Element[]): string =>
  [...bySet(elements)]
    .map(([set, members]) => {
      const texts = members.map(
        ({ key, value, owner }) => `${key}${quoted(owner)}${value === '' ? '' : ` : ${value}`}`,
      )
      return `add element ${tableOf(table, set)} ${set} { ${texts.join(', ')} }`
    })
    .join('\n')

/** One `delete element` a set; refused as a whole where one of them is absent. */
export const deleteElements = (table: string, elements: Element[]): string =>
  [...bySet(elements)]
    .map(
      ([set, members]) =>
        `delete element ${tableOf(table, set)} ${set} { ${members.map(({ key }) => key).join(', ')} }`,
    )
    .join('\n')
