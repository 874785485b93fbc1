import { badRequest } from '../../core/errors.ts'
import { checkFamily, type Family } from '../../net/subnets.ts'
import type { BridgeIpv6, BridgeSpec, GatewayMode } from '../../net/types.ts'
import { truthOf } from '../../wire/truth.ts'

/** The options of Docker's bridge driver (`-o`), decided into what the network layer takes. */

const option = {
  name: 'com.docker.network.bridge.name',
  masquerade: 'com.docker.network.bridge.enable_ip_masquerade',
  icc: 'com.docker.network.bridge.enable_icc',
  publishAddress: 'com.docker.network.bridge.host_binding_ipv4',
  gatewayMode: 'com.docker.network.bridge.gateway_mode_ipv4',
  gatewayMode6: 'com.docker.network.bridge.gateway_mode_ipv6',
  inhibit: 'com.docker.network.bridge.inhibit_ipv4',
  trusted: 'com.docker.network.bridge.trusted_host_interfaces',
  mtu: 'com.docker.network.driver.mtu',
  sourceAddress: 'com.docker.network.host_ipv4',
  sourceAddress6: 'com.docker.network.host_ipv6',
  interfacePrefix: 'com.docker.network.container_iface_prefix',
}

const modes: readonly string[] = ['nat', 'nat-unprotected', 'routed', 'isolated']

type Options = Record<string, string>

const flag = (options: Options, name: string, otherwise: boolean): boolean => {
  const text = options[name]
  if (text === undefined) return otherwise
  const value = truthOf(text)
  if (value === undefined)
    throw badRequest(`failed to parse ${name} value: ${JSON.stringify(text)} is no truth`)
  return value
}

const address = (options: Options, name: string, family: Family = 4): string => {
  const text = options[name] ?? ''
  if (text !== '') checkFamily(text, family)
  return text
}

const mtuOf = (options: Options): number => {
  const text = options[option.mtu]
  if (text === undefined) return 1500
  const mtu = Number(text)
  if (!/^\d+$/.test(text) || mtu < 68 || mtu > 65535)
    throw badRequest(`failed to parse ${option.mtu} value: ${JSON.stringify(text)} is no MTU (68 to 65535)`)
  return mtu
}

const linkName = (options: Options, id: string): string => {
  const name = options[option.name] || `br-${id.slice(0, 12)}`
  if (name.length > 15 || !/^[^\s/:]+$/.test(name) || name === '.' || name === '..')
    throw badRequest(
      `invalid bridge name ${JSON.stringify(name)}: a link's name has 1 to 15 bytes, without / and spaces`,
    )
  return name
}

const gatewayModeOf = (options: Options, name: string, internal: boolean): GatewayMode => {
  const mode = options[name] || 'nat'
  if (!modes.includes(mode))
    throw badRequest(`unknown gateway mode ${JSON.stringify(mode)}: ${name} takes ${modes.join(', ')}`)
  if (mode === 'isolated' && !internal)
    throw badRequest(`gateway mode 'isolated' can only be used for an internal network`)
  return mode as GatewayMode
}

export type BridgeChoice = Omit<BridgeSpec, 'networkId' | 'subnet' | 'gateway' | 'foreign' | 'ipv6'>

/** Errors: `bad-request` that names the option. */
export const decideBridge = (
  options: Options,
  { id, internal }: { id: string; internal: boolean },
): BridgeChoice => {
  const gatewayMode = gatewayModeOf(options, option.gatewayMode, internal)
  publishAddressOf(options, '')
  return {
    link: linkName(options, id),
    mtu: mtuOf(options),
    masquerade: flag(options, option.masquerade, true),
    icc: flag(options, option.icc, true),
    bare: flag(options, option.inhibit, false) || gatewayMode === 'isolated',
    sourceAddress: address(options, option.sourceAddress),
    trusted: (options[option.trusted] ?? '').split(':').filter(Boolean),
    gatewayMode,
    internal,
  }
}

/** What the options say of a bridge's IPv6. Errors: as `decideBridge`. */
export const decideExit6 = (
  options: Options,
  internal: boolean,
): Pick<BridgeIpv6, 'gatewayMode' | 'sourceAddress'> => ({
  gatewayMode: gatewayModeOf(options, option.gatewayMode6, internal),
  sourceAddress: address(options, option.sourceAddress6, 6),
})

/** Where ports are published that name no address. */
export const publishAddressOf = (options: Options, otherwise: string): string =>
  address(options, option.publishAddress) || otherwise

/** Interfaces inside are called so, and numbered. */
export const interfacePrefixOf = (options: Options): string => options[option.interfacePrefix] || 'eth'
