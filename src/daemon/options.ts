import { hostHasSelinux } from '../linux/selinux.ts'

/**
 * Every flag of dockerd and key of daemon.json, and what this version does with
 * it. docs/daemon-options.md is made from this table.
 *
 * - `works`: as Docker's.
 * - `own`: Berth's own.
 * - `ignored`: names a part that Berth does not have; accepted with a warning.
 * - `later`: not built yet; ignoring it harms nothing, so accepted with a warning.
 * - `refused`: not built yet; ignoring it would weaken security or lose data.
 */
export type OptionState = 'works' | 'own' | 'ignored' | 'later' | 'refused'

export interface OptionSpec {
  /** The long flag; empty for a key of daemon.json alone. */
  flag: string
  short?: string
  /** The key in daemon.json; empty for a flag alone. */
  key: string
  type: 'bool' | 'string' | 'int' | 'list' | 'map' | 'maps' | 'object'
  state: OptionState
  /** What a `refused` option would have done, or a value of a refused one that is harmless. */
  harmless?: unknown
  /** What is warned of on hosts that lack what a flag switches on. */
  pointless?: { here: () => boolean; warning: string }
}

const option = (
  flag: string,
  key: string,
  type: OptionSpec['type'],
  state: OptionState = 'works',
  more: Partial<OptionSpec> = {},
): OptionSpec => ({ flag, key, type, state, ...more })

export const optionTable: readonly OptionSpec[] = [
  option('host', 'hosts', 'list', 'works', { short: 'H' }),
  option('tls', 'tls', 'bool'),
  option('tlsverify', 'tlsverify', 'bool'),
  option('tlscacert', 'tlscacert', 'string'),
  option('tlscert', 'tlscert', 'string'),
  option('tlskey', 'tlskey', 'string'),
  option('debug', 'debug', 'bool', 'works', { short: 'D' }),
  option('experimental', 'experimental', 'bool'),
  option('log-level', 'log-level', 'string', 'works', { short: 'l' }),
  option('log-format', 'log-format', 'string'),
  option('config-file', '', 'string'),
  option('validate', '', 'bool'),
  option('version', '', 'bool', 'works', { short: 'v' }),
  option('help', '', 'bool', 'works', { short: 'h' }),
  option('data-root', 'data-root', 'string'),
  option('exec-root', 'exec-root', 'string'),
  option('pidfile', 'pidfile', 'string', 'works', { short: 'p' }),
  option('group', 'group', 'string', 'works', { short: 'G' }),
  option('bridge', 'bridge', 'string', 'works', { short: 'b' }),
  option('bip', 'bip', 'string'),
  option('ipv6', 'ipv6', 'bool'),
  option('bip6', 'bip6', 'string'),
  option('fixed-cidr-v6', 'fixed-cidr-v6', 'string'),
  option('default-gateway-v6', 'default-gateway-v6', 'string'),
  option('ip6tables', 'ip6tables', 'bool'),
  option('fixed-cidr', 'fixed-cidr', 'string'),
  option('default-address-pool', 'default-address-pools', 'list'),
  option('mtu', 'mtu', 'int'),
  option('dns', 'dns', 'list'),
  option('dns-search', 'dns-search', 'list'),
  option('dns-option', 'dns-opts', 'list'),
  option('dns-opt', '', 'list'),
  option('', 'resolv-conf', 'string'),
  option('ip', 'ip', 'string'),
  option('iptables', 'iptables', 'bool'),
  option('ip-forward', 'ip-forward', 'bool'),
  option('ip-masq', 'ip-masq', 'bool'),
  option('default-gateway', 'default-gateway', 'string'),
  option('default-network-opt', 'default-network-opts', 'maps'),
  option('bridge-accept-fwmark', 'bridge-accept-fwmark', 'string'),
  option('ip-forward-no-drop', 'ip-forward-no-drop', 'bool'),
  option('allow-direct-routing', 'allow-direct-routing', 'bool'),
  option('icc', 'icc', 'bool'),
  option('firewall-mode', 'firewall-mode', 'string'),
  option('firewall-foreign', 'firewall-foreign', 'string'),
  option('registry-mirror', 'registry-mirrors', 'list'),
  option('insecure-registry', 'insecure-registries', 'list'),
  option('max-concurrent-downloads', 'max-concurrent-downloads', 'int'),
  option('max-download-attempts', 'max-download-attempts', 'int'),
  option('max-concurrent-uploads', 'max-concurrent-uploads', 'int'),
  option('http-proxy', '', 'string'),
  option('https-proxy', '', 'string'),
  option('no-proxy', '', 'string'),
  option('', 'proxies', 'object'),
  option('log-driver', 'log-driver', 'string'),
  option('log-opt', 'log-opts', 'map'),
  option('label', 'labels', 'list'),
  option('metrics-addr', 'metrics-addr', 'string'),
  option('default-runtime', 'default-runtime', 'string'),
  option('add-runtime', 'runtimes', 'map'),
  option('cgroup-parent', 'cgroup-parent', 'string'),
  option('exec-opt', 'exec-opts', 'list'),
  option('live-restore', 'live-restore', 'bool'),
  option('init', 'init', 'bool'),
  option('init-path', 'init-path', 'string'),
  option('shutdown-timeout', 'shutdown-timeout', 'int'),
  option('default-stop-timeout', 'default-stop-timeout', 'int'),
  option('host-gateway-ip', 'host-gateway-ip', 'string'),
  option('', 'host-gateway-ips', 'list'),
  option('default-ipc-mode', 'default-ipc-mode', 'string'),
  option('default-cgroupns-mode', 'default-cgroupns-mode', 'string'),
  option('default-ulimit', 'default-ulimits', 'map'),
  option('default-shm-size', 'default-shm-size', 'string'),
  option('seccomp-profile', 'seccomp-profile', 'string'),
  option('no-new-privileges', 'no-new-privileges', 'bool'),
  option('cdi-spec-dir', 'cdi-spec-dirs', 'list'),
  option('cpu-rt-period', 'cpu-rt-period', 'int'),
  option('cpu-rt-runtime', 'cpu-rt-runtime', 'int'),
  option('claim-docker-socket', 'claim-docker-socket', 'bool', 'own'),
  option('log-default-max-size', 'log-default-max-size', 'string', 'own'),
  option('log-default-max-file', 'log-default-max-file', 'int', 'own'),
  option('log-budget', 'log-budget', 'string', 'own'),
  option('', 'image-clean-up', 'object', 'own'),
  option('', 'clean-up', 'object', 'own'),
  option('health-first-probe', 'health-first-probe', 'string', 'own'),
  option('audit-log', 'audit-log', 'string', 'own'),
  option('containerd', 'containerd', 'string', 'ignored'),
  option('containerd-namespace', 'containerd-namespace', 'string', 'ignored'),
  option('containerd-plugins-namespace', 'containerd-plugin-namespace', 'string', 'ignored'),
  option('cri-containerd', 'cri-containerd', 'bool', 'ignored'),
  option('nri-opts', 'nri-opts', 'object', 'ignored'),
  option('firewall-backend', 'firewall-backend', 'string', 'ignored'),
  option('userland-proxy', 'userland-proxy', 'bool', 'ignored'),
  option('userland-proxy-path', 'userland-proxy-path', 'string', 'ignored'),
  option('storage-driver', 'storage-driver', 'string', 'ignored', { short: 's' }),
  option('storage-opt', 'storage-opts', 'list'),
  option('oom-score-adjust', 'oom-score-adjust', 'int', 'ignored'),
  option('feature', 'features', 'map'),
  option('', 'builder', 'object'),
  option('swarm-default-advertise-addr', 'swarm-default-advertise-addr', 'string', 'later'),
  option('node-generic-resource', 'node-generic-resources', 'list', 'later'),
  option('network-control-plane-mtu', 'network-control-plane-mtu', 'int', 'later'),
  option('network-diagnostic-port', 'network-diagnostic-port', 'int', 'later'),
  option('raw-logs', 'raw-logs', 'bool'),
  option('selinux-enabled', 'selinux-enabled', 'bool', 'works', {
    pointless: {
      here: () => !hostHasSelinux(),
      warning: 'SELinux could not be enabled: this host does not have it',
    },
  }),
  option('userns-remap', 'userns-remap', 'string'),
  option('rootless', '', 'bool', 'refused', { harmless: false }),
  option('', 'access-policies', 'list', 'own'),
  option('authorization-plugin', 'authorization-plugins', 'list'),
]
