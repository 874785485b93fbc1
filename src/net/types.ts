/**
 * Container networking below Docker's nouns. Vocabulary:
 *
 * - **bridge**: a Linux bridge with a subnet; `berth0`, or `br-<hash>`.
 * - **sandbox**: a container's network namespace, pinned as a file below exec-root.
 * - **endpoint**: one veth pair between a sandbox and a bridge, with its addresses.
 * - **published port**: traffic to a host address and port that goes to an endpoint's port.
 *
 * Every kernel object carries its owner: bridge and veth names hold a hash or
 * nonce, firewall elements a comment with the container id, sandbox files the
 * container id. `Network.reconcile` compares them with what should be there.
 */

import type { IdMaps } from '../linux/idMaps.ts'

export interface Subnet {
  /** `172.17.0.0`, `fd00::` */
  address: string
  /** 0 to 32, or 128 */
  prefix: number
}

/** Where the host sends what is for a subnet. */
export interface HostRoute extends Subnet {
  /** Name of the interface. */
  link: string
}

/**
 * How containers and the world meet. `nat`: under the host's address, published ports translated. `nat-unprotected`:
 * the same, and all their ports can be reached directly. `routed`: under their own addresses, published ports
 * opened, nothing translated. `isolated`: not at all, not even with the host.
 */
export type GatewayMode = 'nat' | 'nat-unprotected' | 'routed' | 'isolated'

/** What a bridge with IPv6 has besides. */
export interface BridgeIpv6 {
  subnet: Subnet
  /** The bridge's own address unless the gateway mode is `isolated`, and the containers' way out where nothing else is. */
  gateway: string
  /** Another machine on the bridge that is the containers' way out. */
  defaultGateway?: string
  gatewayMode: GatewayMode
  /** Address under which what leaves the bridge leaves the host; empty for that of the outgoing interface. */
  sourceAddress: string
}

export interface BridgeSpec {
  /** Docker's network id: the owner. */
  networkId: string
  /** Link name, at most 15 bytes. */
  link: string
  subnet: Subnet
  /** The bridge's own address unless it is `bare`, and the containers' way out where nothing else is. */
  gateway: string
  /** Another machine on the bridge that is the containers' way out. */
  defaultGateway?: string
  /** The bridge itself gets no IPv4 address. */
  bare: boolean
  /** Its other family, where it has one. */
  ipv6?: BridgeIpv6 | undefined
  mtu: number
  gatewayMode: GatewayMode
  /** Masquerade what leaves the bridge for elsewhere. */
  masquerade: boolean
  /** Address under which it leaves; empty for that of the outgoing interface. */
  sourceAddress: string
  /** Its containers reach nothing outside, and nothing outside reaches them. */
  internal: boolean
  /** Its containers reach one another, not only what is linked or published. */
  icc: boolean
  /** Interfaces of the host from which published container ports can be reached without translation. */
  trusted: string[]
  /** Made by someone else (`-b NAME`): used, never changed or removed. */
  foreign: boolean
}

/** What a bridge is where nothing else is asked for. */
export const ordinaryBridge: Omit<BridgeSpec, 'networkId' | 'link' | 'subnet' | 'gateway' | 'mtu'> = {
  bare: false,
  gatewayMode: 'nat',
  masquerade: true,
  sourceAddress: '',
  internal: false,
  icc: true,
  trusted: [],
  foreign: false,
}

/** The same of its IPv6. */
export const ordinaryExit: Pick<BridgeIpv6, 'gatewayMode' | 'sourceAddress'> = {
  gatewayMode: 'nat',
  sourceAddress: '',
}

export type Protocol = 'tcp' | 'udp'

export interface PortRequest {
  protocol: Protocol
  containerPort: number
  /** Empty for all of both families, `0.0.0.0` or `::` for those of one; an address of the host; `127.0.0.1`. */
  hostIp: string
  /** First and last port to choose from; equal for a fixed port, both 0 for an ephemeral one. */
  hostPortFirst: number
  hostPortLast: number
}

export interface PublishedPort {
  protocol: Protocol
  containerPort: number
  hostIp: string
  hostPort: number
}

export interface EndpointSpec {
  containerId: string
  bridge: BridgeSpec
  /** Interface name inside, `eth0`. */
  interfaceName: string
  /** Chosen before by the address pool. */
  ipv4: string
  /** The same, where the bridge has IPv6. */
  ipv6?: string | undefined
  mac: string
  ports: PortRequest[]
  /** Sends what is for elsewhere through this bridge; at most one endpoint of a sandbox does. */
  defaultRoute: boolean
  /** `net.ipv4.conf.IFNAME.log_martians=1`, … */
  sysctls?: string[]
  /** More addresses of its interface, each as of a network of 16 bits (`--link-local-ip`). */
  linkLocal?: string[]
}

/** A port of another container that a link leads to. */
export interface LinkedPort {
  ipv4: string
  protocol: Protocol
  port: number
}

export type Exposure = 'translated' | 'direct' | 'both'

/** What is in the kernel for one endpoint; stored, so that a later daemon can take it down. */
export interface Endpoint {
  containerId: string
  networkId: string
  hostLink: string
  interfaceName: string
  ipv4: string
  ipv6?: string
  mac: string
  published: PublishedPort[]
  /** What the published ports are: translated (where nothing is told), opened under the container's address, or both. */
  exposure?: Exposure
  /** The same of IPv6. */
  exposure6?: Exposure
  /** It carries the sandbox's default route; true where nothing is told. */
  defaultRoute?: boolean
  /** What it reaches on a bridge without `icc`. */
  linked?: LinkedPort[]
  linkLocal?: string[]
}

export interface FirewallSettings {
  /** `berth`, or `berth-<8 hex of exec-root>`. */
  table: string
  /** False (`--iptables=false`): no rules at all are made. */
  enabled: boolean
  /** False (`--ip6tables=false`): no rules are made for IPv6, which passes as it comes. */
  ipv6?: boolean
  /** `open`: published ports are open to everyone. `host`: they obey what the host's INPUT says of them. */
  mode: FirewallMode
  /** Let our traffic pass rules of others by rules of ours among them (`--firewall-foreign=accept`). */
  acceptForeign?: boolean
  /** What bears this mark is let pass to containers (`--bridge-accept-fwmark`). */
  acceptMark?: { mark: number; mask: number } | undefined
  /** Published ports can be reached under the containers' own addresses, too (`--allow-direct-routing`). */
  directRouting?: boolean
  /** Where forwarding is turned on here, others' traffic is dropped all the same: not with `--ip-forward-no-drop`. */
  keepForwarding?: boolean
}

export type FirewallMode = 'open' | 'host'

/** Links by which the first packets to published ports come back after the host's INPUT let them pass; see detour.ts. */
export interface Detour {
  ask: string
  back: string
  /** Borne by packets between their way out of `back` and their routing; also the number of a routing table. */
  mark: number
}

/**
 * Where the sockets that reserve ports stay while the daemon is away. `keep`
 * borrows the descriptor: the caller closes its own copy once it resolves.
 */
export interface PortKeeper {
  /** Names are `port:<container id>:<protocol>:<address>:<port>`. */
  keep(name: string, fd: number): Promise<void>
  /** Closes it; an unknown name is no error. */
  drop(name: string): Promise<void>
  /** Names that are kept; after a start they tell which reservations are still true. */
  names(): Promise<string[]>
}

/** Bytes, packets, errors and drops as the container sees them. */
export interface EndpointStats {
  rxBytes: bigint
  rxPackets: bigint
  rxErrors: bigint
  rxDropped: bigint
  txBytes: bigint
  txPackets: bigint
  txErrors: bigint
  txDropped: bigint
}

/** The user namespace that is to own a sandbox: a new one with these maps, or one that a path names. */
export type SandboxOwner = { maps: IdMaps } | { namespace: string }

/** What the engine holds to be true; everything else with our mark is taken away. */
export interface ExpectedNetwork {
  bridges: BridgeSpec[]
  endpoints: Endpoint[]
  /** Container ids whose sandbox must stay. */
  sandboxes: string[]
}

export interface ReconcileReport {
  /** One line each: what was added, repaired or taken away. */
  changes: string[]
  /** Container ids that lost a link which no endpoint had: with it their default route may have gone. */
  endedFor: string[]
  /** Endpoints that could not be adopted: their sandbox is gone. */
  lost: Endpoint[]
}
