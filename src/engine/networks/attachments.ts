import { isIP } from 'node:net'
import { badRequest } from '../../core/errors.ts'
import { parseMac } from '../../net/addresses.ts'
import { isWildcard } from '../../net/port-table.ts'
import { canonical, contains, type Family } from '../../net/subnets.ts'
import type { EndpointSettings, HostConfig, NetworkingConfig } from '../../wire/container.ts'
import type { NetworkAttachment } from '../containers/types.ts'
import type { Networks } from './networks.ts'
import { isPredefined, type NetworkRecord } from './types.ts'

/** What a container is to be on, from what a client asks for. Nothing is touched here. */

const sysctlOption = 'com.docker.network.endpoint.sysctls'

/** `net.ipv4.conf.IFNAME.log_martians=1`, as the network layer takes it. */
export const sysctlsOf = (attachment: NetworkAttachment): string[] =>
  (attachment.driverOptions?.[sysctlOption] ?? '').split(',').filter(Boolean)

/** `com.docker.network.endpoint.ifname` */
export const interfaceNameOf = (attachment: NetworkAttachment): string =>
  attachment.driverOptions?.['com.docker.network.endpoint.ifname'] ?? ''

const sysctlForm = /^[^.]+\.(ipv4|ipv6|mpls)\.[^.]+\.(IFNAME|ifname)\./

const sysctlProblems = (options: Record<string, string> | undefined): string[] =>
  (options?.[sysctlOption] ?? '')
    .split(',')
    .filter(text => text !== '' && !sysctlForm.test(text))
    .map(
      text =>
        `unrecognised network interface sysctl '${text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
    )

const addressProblems = (
  address: string | undefined,
  network: NetworkRecord | undefined,
  family: Family,
): string[] => {
  if (!address) return []
  if (isIP(address) !== family) return [`invalid IPv${family} address: ${address}`]
  const bridge = network?.bridge
  const subnet = family === 4 ? bridge?.subnet : bridge?.ipv6?.subnet
  if (!bridge || (subnet && contains(subnet, address))) return []
  return [`no configured subnet contains IP address ${address}`]
}

const linkLocalProblems = (addresses: readonly string[], network: NetworkRecord | undefined): string[] =>
  addresses.flatMap(address => {
    const family = isIP(address)
    if (family === 0 || isWildcard(address)) return [`invalid link-local IP address: ${address}`]
    return family === 6 && network && !network.bridge?.ipv6
      ? [`link-local IP address ${address} needs a network with IPv6`]
      : []
  })

/** Errors: `bad-request` with every problem, in Docker's words. */
const checkSettings = (
  name: string,
  settings: EndpointSettings,
  network: NetworkRecord | undefined,
): void => {
  const { IPAMConfig: wanted, Aliases: aliases, DriverOpts: options } = settings
  const problems: string[] = []
  if (isPredefined(name)) {
    if (wanted?.IPv4Address || wanted?.IPv6Address)
      problems.push('user-specified IP address is supported on user-defined networks only')
    if (aliases?.length) problems.push('network-scoped aliases are only supported for user-defined networks')
  } else
    problems.push(
      ...addressProblems(wanted?.IPv4Address, network, 4),
      ...addressProblems(wanted?.IPv6Address, network, 6),
    )
  problems.push(...linkLocalProblems(wanted?.LinkLocalIPs ?? [], network), ...sysctlProblems(options))
  if (problems.length === 0) return
  const text = problems.length === 1 ? problems[0] : problems.map(problem => `* ${problem}`).join('\n')
  throw badRequest(`invalid config for network ${name}: invalid endpoint settings:\n${text}`)
}

/** Errors: `bad-request`. */
export const attachmentOf = (
  name: string,
  network: NetworkRecord | undefined,
  settings: EndpointSettings,
): NetworkAttachment => {
  checkSettings(name, settings, network)
  const { IPAMConfig: wanted, Links: links, DriverOpts: options, GwPriority: priority } = settings
  return {
    networkName: name,
    networkId: network?.id ?? '',
    endpointId: '',
    aliases: settings.Aliases ?? [],
    mac: settings.MacAddress ? parseMac(settings.MacAddress) : '',
    ...(links?.length ? { links } : {}),
    ...(wanted?.IPv4Address ? { ipv4: wanted.IPv4Address } : {}),
    ...(wanted?.IPv6Address ? { ipv6: canonical(wanted.IPv6Address) } : {}),
    ...(wanted?.LinkLocalIPs?.length ? { linkLocal: wanted.LinkLocalIPs } : {}),
    ...(options && Object.keys(options).length > 0 ? { driverOptions: options } : {}),
    ...(priority ? { gatewayPriority: priority } : {}),
  }
}

/** By id; by name where the network did not exist yet when the container was made. */
export const isAttachedTo = (
  { networkId, networkName }: NetworkAttachment,
  { id, name }: NetworkRecord,
): boolean => networkId === id || (networkId === '' && networkName === name)

const isHostOrNone = (name: string): boolean => name === 'host' || name === 'none'

/**
 * What a create asks for: the network of `--network` first, then the others. One that does not exist yet is no error
 * before the start.
 */
export const attachmentsFor = (
  networks: Networks,
  { NetworkMode: mode = 'bridge', Links: links = [] }: HostConfig,
  config: NetworkingConfig,
): NetworkAttachment[] => {
  if (mode.startsWith('container:')) return []
  const first = networks.find(mode)
  const name = first?.name ?? mode
  const asked = new Map<string, EndpointSettings>([[name, {}]])
  for (const [reference, settings] of Object.entries(config.EndpointsConfig ?? {})) {
    const found = reference === 'default' ? first : networks.find(settings?.NetworkID || reference)
    asked.set(reference === 'default' ? name : (found?.name ?? reference), settings ?? {})
  }
  if (asked.size > 1 && [...asked.keys()].some(isHostOrNone))
    throw badRequest('conflicting options: a container on the network host or none cannot be on others, too')
  // Clients tell links of a user-defined network with the endpoint; the older place for them means the same.
  const own = asked.get(name) ?? {}
  if (links.length > 0 && !isPredefined(name) && !own.Links?.length) asked.set(name, { ...own, Links: links })
  return [...asked].map(([wanted, settings]) => attachmentOf(wanted, networks.find(wanted), settings))
}
