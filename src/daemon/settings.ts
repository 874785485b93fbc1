import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { badRequest } from '../core/errors.ts'
import type { Level } from '../core/log.ts'
import { checkSlice } from '../engine/containers/groups.ts'
import { checkLogConfig } from '../engine/containers/logDrivers.ts'
import { specRlimits } from '../engine/containers/specResources.ts'
import { type EngineSettings, firstProbes } from '../engine/settings.ts'
import { cgroupVersion } from '../linux/cgroups.ts'
import { ownUnit } from '../linux/systemd.ts'
import { familyOf, parseCidr, widthOf } from '../net/subnets.ts'
import type { FirewallMode } from '../net/types.ts'
import { Plugins } from '../plugins/plugins.ts'
import { defaultShmSize } from '../runtime/spec/defaults.ts'
import { parseSize } from '../wire/sizes.ts'
import { accessPoliciesOf } from './accessPolicies.ts'
import { type AddedRuntime, addedRuntimesOf } from './addedRuntimes.ts'
import { type BuilderSettings, builderSettingsOf } from './builderSettings.ts'
import { cleanUpOf, imageCleanUpOf } from './cleanUp.ts'
import type { Config } from './config.ts'
import { featuresOf } from './features.ts'
import { type Host, parseHost, tlsHost } from './listen.ts'
import { logLimitsOf } from './logLimits.ts'
import { type MetricsAddress, parseMetricsAddress } from './metricsServer.ts'
import { markOf, networkOptionsOf } from './networkOptions.ts'
import { pluginFolders } from './pluginFolders.ts'
import { maxDownloadsOf, maxUploadsOf, registrySettingsOf } from './registrySettings.ts'
import { securityDefaultsOf } from './securityDefaults.ts'
import { layerLimitOf } from './storageOptions.ts'
import { type TlsSettings, tlsSettingsOf } from './tls.ts'

/** The daemon's own part of its options: what the services need not know. */
export interface DaemonSettings {
  /** To be logged at the start. */
  warnings: string[]
  builder: BuilderSettings
  /** Empty for the default socket. */
  hosts: Host[]
  claimDockerSocket: boolean
  /** For TCP. */
  tls: TlsSettings | undefined
  pidFile: string
  /** The file that requests are noted in; empty for none. */
  auditLog: string
  /** Where Prometheus may read; undefined for nowhere. */
  metricsAddress: MetricsAddress | undefined
  group: string
  logLevel: Level
  logFormat: 'text' | 'json'
  /** The name given with `-b`; empty for our own bridge, `none` for no bridge. */
  bridge: string
  bip: string
  fixedCidr: string
  /** The default bridge has IPv6, by the next three. */
  ipv6: boolean
  bip6: string
  fixedCidr6: string
  defaultGateway6: string
  addressPools: { base: string; size: number }[]
  mtu: number
  publishAddress: string
  firewall: boolean
  firewall6: boolean
  firewallMode: FirewallMode
  acceptMark: { mark: number; mask: number } | undefined
  directRouting: boolean
  keepForwarding: boolean
  /** Let containers' traffic pass rules of other programs. */
  acceptForeign: boolean
  icc: boolean
  masquerade: boolean
  /** Empty for the bridge itself. */
  defaultGateway: string
  ipForward: boolean
  addedRuntimes: Map<string, AddedRuntime>
  /** Whose subordinate ids containers' users are, as it was given; empty for no user namespaces. */
  usernsRemap: string
  /** `berth`, or made of exec-root: names of kernel objects hold it. */
  instance: string
  engine: EngineSettings
}

const defaultExecRoot = '/run/berth'
const projectRoot = fileURLToPath(new URL('../..', import.meta.url))

const levels: Level[] = ['debug', 'info', 'warn', 'error', 'fatal']

/** Eight hex digits that tell daemons of different exec-roots apart; empty for the default one. */
export const instanceOf = (execRoot: string): string =>
  execRoot === defaultExecRoot ? '' : createHash('sha256').update(execRoot).digest('hex').slice(0, 8)

const isPool = (base: string, size: number): boolean => {
  try {
    const { address, prefix } = parseCidr(base)
    return Number.isInteger(size) && size >= prefix && size >= 1 && size <= widthOf(familyOf(address))
  } catch {
    return false
  }
}

const parsePool = (entry: unknown): { base: string; size: number } => {
  const pair: Record<string, unknown> =
    typeof entry === 'string'
      ? Object.fromEntries(entry.split(',').map(part => part.split('=')))
      : (entry as Record<string, unknown>)
  const base = String(pair['base'] ?? '')
  const size = Number(pair['size'])
  if (!isPool(base, size))
    throw badRequest(
      `invalid default address pool ${JSON.stringify(entry)}: want base=<subnet>,size=<prefix length>`,
    )
  return { base, size }
}

/** As dockerd: with systemd as the init and control groups version 2, systemd makes the groups. */
const cgroupDriver = (execOpts: readonly string[]): 'cgroupfs' | 'systemd' => {
  let driver: 'cgroupfs' | 'systemd' =
    cgroupVersion === 2 && existsSync('/run/systemd/system') ? 'systemd' : 'cgroupfs'
  for (const option of execOpts) {
    const [key = '', value = ''] = option.split('=')
    if (key !== 'native.cgroupdriver') throw badRequest(`invalid exec option: ${key}`)
    if (value !== 'cgroupfs' && value !== 'systemd')
      throw badRequest(`native.cgroupdriver option ${value} not supported`)
    driver = value
  }
  return driver
}

/** Errors: `bad-request` where systemd is to make groups below what is no slice. */
const cgroupParent = (given: string, driver: 'cgroupfs' | 'systemd', name: string): string => {
  if (driver === 'systemd' && given !== '') checkSlice(given)
  return given || (driver === 'systemd' ? 'system.slice' : `/${name}`)
}

const oneOf = <T extends string>(name: string, value: unknown, choices: readonly T[], otherwise: T): T => {
  if (value === undefined || value === '') return otherwise
  if (!choices.includes(value as T))
    throw badRequest(`invalid value ${JSON.stringify(value)} for ${name}: use one of ${choices.join(', ')}`)
  return value as T
}

/** Whether published ports are open to everyone, or obey what the host's INPUT says of them. */
const firewallModeOf = (value: unknown, rules: boolean): FirewallMode => {
  const mode = oneOf('firewall-mode', value, ['open', 'host'] as const, 'open')
  if (mode === 'host' && !rules)
    throw badRequest(
      '--firewall-mode=host needs rules, which --iptables=false forbids: leave one of them out',
    )
  return mode
}

const addressOr = (name: string, value: unknown, otherwise: string): string => {
  if (value === undefined || value === '') return otherwise
  if (typeof value !== 'string' || isIP(value) === 0)
    throw badRequest(`invalid value ${JSON.stringify(value)} for ${name}: not an IP address`)
  return value
}

/** Errors: `bad-request` where it is another text than an address of IPv6; empty stays so. */
const address6 = (name: string, text: string): string => {
  if (text !== '' && isIP(text) !== 6)
    throw badRequest(`invalid value ${JSON.stringify(text)} for ${name}: not an IPv6 address`)
  return text
}

const cidr6 = (name: string, text: string): string => {
  if (text === '') return ''
  const [address = ''] = text.split('/')
  address6(name, address)
  parseCidr(text)
  return text
}

const domainForm = /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\.?$/i

const checkSearch = (domains: readonly string[]): void => {
  for (const domain of domains)
    if (domain !== '.' && !(domainForm.test(domain) && /[a-z]/i.test(domain) && domain.length < 255))
      throw badRequest(`${domain} is not a valid domain`)
}

const checkLabels = (labels: readonly string[]): void => {
  const known = new Map<string, string>()
  for (const label of labels) {
    const at = label.indexOf('=')
    if (at < 0) throw badRequest(`bad attribute format: ${label}`)
    const [key, value] = [label.slice(0, at), label.slice(at + 1)]
    const before = known.get(key)
    if (before !== undefined && before !== value)
      throw badRequest(`conflict labels for ${key}=${value} and ${key}=${before}`)
    known.set(key, value)
  }
}

const mtuOf = (value: unknown): number => {
  const mtu = (value as number | undefined) ?? 0
  if (mtu < 0) throw badRequest(`invalid default MTU: ${mtu}`)
  return mtu || 1500
}

const defaultStopTimeoutOf = (value: unknown): number => {
  const seconds = (value as number | undefined) ?? 10
  if (seconds < 0) throw badRequest(`invalid default stop timeout: ${seconds}`)
  return seconds
}

/** By flag `nofile=1024:2048`, in daemon.json `{"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}`. */
/** One empty name switches CDI off. */
const cdiFoldersOf = (given: unknown): string[] => {
  const folders = (given as string[] | undefined) ?? ['/etc/cdi', '/var/run/cdi']
  return folders.length === 1 && folders[0] === '' ? [] : folders
}

const ulimitsOf = (value: unknown): EngineSettings['defaultUlimits'] => {
  const limits = Object.entries((value ?? {}) as Record<string, unknown>).map(([name, entry]) => {
    if (typeof entry === 'object' && entry !== null) {
      const { Soft, Hard } = entry as { Soft?: number; Hard?: number }
      return { Name: name, Soft: Number(Soft ?? 0), Hard: Number(Hard ?? 0) }
    }
    const [soft = '', hard = soft] = String(entry).split(':')
    if (!/^-?\d+$/.test(soft) || !/^-?\d+$/.test(hard))
      throw badRequest(`invalid default ulimit ${name}=${entry}: want name=soft[:hard]`)
    return { Name: name, Soft: Number(soft), Hard: Number(hard) }
  })
  specRlimits({ Ulimits: limits })
  return limits
}

/** Without a host, TLS is served on its own port of loopback, as with dockerd. */
const hostsOf = (values: Config['values'], tls: TlsSettings | undefined): Host[] => {
  const given = (values.get('host') as string[] | undefined) ?? (tls ? [tlsHost] : [])
  const open = tls?.verify || values.has('tls') || values.has('tlsverify')
  return given.map(text => parseHost(text, { tls: tls !== undefined, open }))
}

/** All options, checked and with their defaults. Errors: `bad-request` that names the option. */
export const settingsOf = ({ values }: Config): DaemonSettings => {
  const text = (name: string, otherwise = ''): string => (values.get(name) as string | undefined) ?? otherwise
  const flag = (name: string, otherwise: boolean): boolean =>
    (values.get(name) as boolean | undefined) ?? otherwise
  const list = (name: string): string[] => (values.get(name) as string[] | undefined) ?? []
  const execRoot = path.resolve(text('exec-root', defaultExecRoot))
  const dataRoot = path.resolve(text('data-root', '/var/lib/berth'))
  const debug = flag('debug', false)
  const features = featuresOf(values.get('feature'))
  const instance = instanceOf(execRoot)
  const scopePrefix = instance === '' ? 'berth' : `berth-${instance}`
  const driver = cgroupDriver(list('exec-opt'))
  const defaultLog = {
    type: text('log-driver', 'json-file'),
    options: (values.get('log-opt') as Record<string, string> | undefined) ?? {},
  }
  const plugins = new Plugins(pluginFolders())
  checkLogConfig(defaultLog.type, defaultLog.options, name => plugins.has(name))
  if (text('bridge') !== '' && text('bip') !== '')
    throw badRequest('You specified -b & --bip, mutually exclusive options. Please specify only one')
  if (!flag('icc', true) && !flag('iptables', true))
    throw badRequest(
      'You specified --iptables=false with --icc=false. ICC=false uses iptables to function. Please set --icc or --iptables to true',
    )
  const shmSize = parseSize(text('default-shm-size', String(defaultShmSize)))
  if (!shmSize)
    throw badRequest(
      `invalid value ${JSON.stringify(text('default-shm-size'))} for default-shm-size: not a size`,
    )
  for (const server of list('dns')) addressOr('dns', server, '')
  checkSearch(list('dns-search'))
  checkLabels(list('label'))
  const tls = tlsSettingsOf(values)
  const pools = ((values.get('default-address-pool') as unknown[] | undefined) ?? []).map(parsePool)
  const gateways = list('host-gateway-ips').filter(address => isIP(address) !== 6)
  return {
    warnings: features.warnings,
    builder: builderSettingsOf(values.get('builder')),
    hosts: hostsOf(values, tls),
    tls,
    claimDockerSocket: flag('claim-docker-socket', true),
    auditLog: text('audit-log'),
    metricsAddress: parseMetricsAddress(text('metrics-addr')),
    pidFile: text('pidfile', path.join(execRoot, 'berthd.pid')),
    group: text('group'),
    logLevel: debug ? 'debug' : oneOf('log-level', values.get('log-level'), levels, 'info'),
    logFormat: oneOf('log-format', values.get('log-format'), ['text', 'json'], 'text'),
    bridge: text('bridge'),
    bip: text('bip'),
    fixedCidr: text('fixed-cidr'),
    ipv6: flag('ipv6', false),
    bip6: cidr6('bip6', text('bip6')),
    fixedCidr6: cidr6('fixed-cidr-v6', text('fixed-cidr-v6')),
    defaultGateway6: address6('default-gateway-v6', text('default-gateway-v6')),
    addressPools: pools,
    mtu: mtuOf(values.get('mtu')),
    publishAddress: addressOr('ip', values.get('ip'), '0.0.0.0'),
    firewall: flag('iptables', true),
    firewall6: flag('ip6tables', true),
    acceptMark: markOf(text('bridge-accept-fwmark')),
    directRouting: flag('allow-direct-routing', false),
    keepForwarding: flag('ip-forward-no-drop', false),
    acceptForeign:
      oneOf('firewall-foreign', values.get('firewall-foreign'), ['say', 'accept'], 'say') === 'accept',
    icc: flag('icc', true),
    masquerade: flag('ip-masq', true) && flag('iptables', true),
    defaultGateway: addressOr('default-gateway', values.get('default-gateway'), ''),
    firewallMode: firewallModeOf(values.get('firewall-mode'), flag('iptables', true)),
    ipForward: flag('ip-forward', true),
    addedRuntimes: addedRuntimesOf(values.get('add-runtime')),
    usernsRemap: text('userns-remap'),
    instance,
    engine: {
      dataRoot,
      execRoot,
      monitorBinary: path.join(projectRoot, 'build/berth-monitor'),
      bareNamespace: '',
      runtimes: new Map(),
      defaultRuntime: text('default-runtime'),
      cgroupDriver: driver,
      cgroupParent: cgroupParent(text('cgroup-parent'), driver, scopePrefix),
      scopePrefix,
      unit: ownUnit(),
      labels: list('label'),
      defaultLog,
      logLimits: logLimitsOf(values, dataRoot),
      imageCleanUp: imageCleanUpOf(values),
      ...cleanUpOf(values),
      defaultIpcMode: oneOf(
        'default-ipc-mode',
        values.get('default-ipc-mode'),
        ['private', 'shareable'],
        'private',
      ),
      defaultCgroupnsMode: oneOf(
        'default-cgroupns-mode',
        values.get('default-cgroupns-mode'),
        ['private', 'host'],
        cgroupVersion === 2 ? 'private' : 'host',
      ),
      init: flag('init', false),
      healthFirstProbe: oneOf(
        'health-first-probe',
        values.get('health-first-probe'),
        firstProbes,
        'interval',
      ),
      initPath: text('init-path', path.join(projectRoot, 'build/berth-monitor')),
      liveRestore: flag('live-restore', true),
      shutdownTimeout: (values.get('shutdown-timeout') as number | undefined) ?? 15,
      defaultStopTimeout: defaultStopTimeoutOf(values.get('default-stop-timeout')),
      hostGatewayIp: addressOr('host-gateway-ip', values.get('host-gateway-ip') ?? gateways[0], ''),
      dns: {
        servers: list('dns'),
        search: list('dns-search'),
        options: [...list('dns-option'), ...list('dns-opt')],
        resolvConf: text('resolv-conf'),
      },
      defaultShmSize: shmSize,
      layerLimit: layerLimitOf(values.get('storage-opt')),
      security: securityDefaultsOf(values),
      idMaps: undefined,
      cpuRealtime: {
        period: (values.get('cpu-rt-period') as number | undefined) ?? 0,
        runtime: (values.get('cpu-rt-runtime') as number | undefined) ?? 0,
      },
      cdiFolders: features.cdi ? cdiFoldersOf(values.get('cdi-spec-dir')) : [],
      defaultUlimits: ulimitsOf(values.get('default-ulimit')),
      addressPools: pools,
      defaultNetworkOptions: networkOptionsOf(values.get('default-network-opt')),
      linkVariables: process.env['DOCKER_KEEP_DEPRECATED_LEGACY_LINKS_ENV_VARS'] === '1',
      registries: registrySettingsOf(values),
      maxDownloads: maxDownloadsOf(values),
      maxUploads: maxUploadsOf(values),
      debug,
      buildkit: features.buildkit,
      experimental: flag('experimental', false),
      accessPolicies: accessPoliciesOf(values),
      authorizationPlugins: [...new Set(list('authorization-plugin'))],
    },
  }
}
