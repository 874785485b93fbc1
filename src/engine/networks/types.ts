import type { BridgeSpec, Subnet } from '../../net/types.ts'
import type { IpamConfig } from '../../wire/network.ts'

/** A network as it is stored. */
export interface NetworkRecord {
  id: string
  name: string
  created: string
  driver: 'bridge' | 'host' | 'null'
  /** Of a bridge network. */
  bridge?: BridgeSpec
  /** Of the driver, as given. */
  options: Record<string, string>
  labels: Record<string, string>
  /** Subnets as they are used, and the allocator's options as given. */
  ipam?: { config: IpamConfig[]; options?: Record<string, string> }
  attachable?: boolean
  /** Nothing but a configuration for others to take: no container is ever on it. */
  configOnly?: boolean
  /** With `configOnly`: networks that take it have IPv6. */
  ipv6?: boolean
  /** The network whose configuration it took. */
  configFrom?: string
}

/** The names of auxiliary addresses that are the containers' way out. */
export const defaultGatewayKeys = { 4: 'DefaultGatewayIPv4', 6: 'DefaultGatewayIPv6' } as const

export const defaultNetworks = ['bridge', 'host', 'none']

/** Networks that Docker's clients take for the daemon's own. */
export const isPredefined = (name: string): boolean => [...defaultNetworks, 'default'].includes(name)

/** The subnets of a bridge network, one a family. */
export const subnetsOf = ({ bridge }: { bridge?: BridgeSpec | undefined }): Subnet[] =>
  bridge ? [bridge.subnet, ...(bridge.ipv6 ? [bridge.ipv6.subnet] : [])] : []
