import { endpointSettings } from './container.ts'
import { bool, type Decoded, list, map, nullable, object, string } from './decode.ts'

/** Requests about networks: Engine API `NetworkCreateRequest`, `NetworkConnectRequest`, `NetworkDisconnectRequest`. */

const ipamConfig = object({
  Subnet: string,
  IPRange: string,
  Gateway: string,
  AuxiliaryAddresses: map(string),
})
export type IpamConfig = Decoded<typeof ipamConfig>

export const networkCreateRequest = object({
  Name: string,
  /** Of API versions before 1.44; always true since. */
  CheckDuplicate: bool,
  Driver: string,
  Scope: string,
  Internal: bool,
  Attachable: bool,
  Ingress: bool,
  ConfigOnly: bool,
  ConfigFrom: object({ Network: string }),
  IPAM: object({ Driver: string, Config: list(ipamConfig), Options: map(string) }),
  EnableIPv4: nullable(bool),
  EnableIPv6: nullable(bool),
  Options: map(string),
  Labels: map(string),
})
export type NetworkCreateRequest = Decoded<typeof networkCreateRequest>

export const networkConnectRequest = object({ Container: string, EndpointConfig: endpointSettings })

export const networkDisconnectRequest = object({ Container: string, Force: bool })
