import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { readConfig } from './config.ts'
import { settingsOf } from './settings.ts'

const engineOf = (...flags: string[]) => settingsOf(readConfig(flags)).engine
const systemd = ['--exec-opt', 'native.cgroupdriver=systemd']
const cgroupfs = ['--exec-opt', 'native.cgroupdriver=cgroupfs']

test('control groups lie in a slice with systemd, and below a group of the daemon without', () => {
  assert.equal(engineOf(...systemd).cgroupParent, 'system.slice')
  assert.equal(engineOf(...systemd, '--cgroup-parent', 'a-b.slice').cgroupParent, 'a-b.slice')
  assert.equal(engineOf(...cgroupfs).cgroupParent, '/berth')
  assert.match(engineOf(...cgroupfs, '--exec-root', '/tmp/other').cgroupParent, /^\/berth-[a-f0-9]{8}$/)
})

test('daemons of different exec-roots give their scopes different names', () => {
  assert.equal(engineOf(...systemd).scopePrefix, 'berth')
  assert.match(engineOf(...systemd, '--exec-root', '/tmp/other').scopePrefix, /^berth-[a-f0-9]{8}$/)
})

test('with systemd a parent that is no slice is refused', () => {
  assert.throws(() => engineOf(...systemd, '--cgroup-parent', '/berth'), {
    status: 400,
    message: /valid slice named as "xxx.slice"/,
  })
})

test('options of networks are checked and named where they are wrong', () => {
  const settings = (...flags: string[]) => settingsOf(readConfig(flags))
  assert.deepEqual(settings('--bridge-accept-fwmark', '0x10/0xff').acceptMark, { mark: 16, mask: 255 })
  assert.deepEqual(settings('--bridge-accept-fwmark=7').acceptMark, { mark: 7, mask: 0xffffffff })
  const refused = [
    ['--bridge-accept-fwmark=0x10/x', /invalid firewall mask "0x10\/x"/],
    ['--bridge-accept-fwmark=0x100000000', /invalid firewall mark/],
    ['--default-gateway=here', /default-gateway: not an IP address/],
    ['--default-network-opt=bridge=mtu', /want <name>=<option>=<text>/],
    ['--firewall-mode=closed', /firewall-mode: use one of open, host/],
    ['--firewall-foreign=drop', /firewall-foreign: use one of say, accept/],
  ] as const
  for (const [flag, message] of refused) assert.throws(() => settings(flag), { status: 400, message })
  assert.throws(() => settings('--icc=false', '--iptables=false'), { message: /ICC=false uses iptables/ })
  assert.throws(() => settings('--firewall-mode=host', '--iptables=false'), { message: /needs rules/ })
  const options = settings('--default-network-opt', 'bridge=a=b=c', '--default-network-opt', 'bridge=d=e')
  assert.deepEqual(options.engine.defaultNetworkOptions, { bridge: { a: 'b=c', d: 'e' } })
})

test('options of registries are checked, and have dockerd’s defaults', () => {
  const { registries, maxDownloads, maxUploads } = engineOf()
  assert.deepEqual([registries.mirrors, registries.insecure, registries.attempts], [[], [], 5])
  assert.deepEqual([maxDownloads, maxUploads], [3, 5])
  const given = engineOf(
    ...['--registry-mirror', 'https://mirror.example/', '--registry-mirror', 'https://mirror.example'],
    ...['--insecure-registry', '10.0.0.0/8', '--max-download-attempts=2', '--max-concurrent-downloads=0'],
    ...['--http-proxy', 'http://proxy.example:3128', '--no-proxy', 'here.example'],
  )
  assert.deepEqual(given.registries.mirrors, ['https://mirror.example'])
  assert.deepEqual(given.registries.insecure, ['10.0.0.0/8'])
  assert.equal(given.registries.attempts, 2)
  assert.equal(given.maxDownloads, Number.POSITIVE_INFINITY)
  assert.equal(given.registries.proxies.http, 'http://proxy.example:3128')
  assert.equal(given.registries.proxies.no, 'here.example')
  const refused = [
    ['--registry-mirror=mirror.example', /invalid mirror: no scheme specified/],
    ['--insecure-registry=-x', /Cannot begin or end with a hyphen/],
    ['--max-concurrent-downloads=-1', /invalid max concurrent downloads: -1/],
    ['--max-concurrent-uploads=-1', /invalid max concurrent uploads: -1/],
    ['--max-download-attempts=0', /invalid max download attempts: 0/],
  ] as const
  for (const [flag, message] of refused) assert.throws(() => engineOf(flag), { status: 400, message })
})

test('the security of containers that say nothing of it is read at the start', () => {
  const { security } = engineOf()
  assert.deepEqual([security.noNewPrivileges, security.seccomp.name], [false, 'builtin'])
  const loose = engineOf('--no-new-privileges', '--seccomp-profile=unconfined').security
  assert.deepEqual(loose, { noNewPrivileges: true, seccomp: { name: 'unconfined', profile: undefined } })
  assert.throws(() => engineOf('--seccomp-profile=/absent'), {
    message: /^opening seccomp profile \(\/absent\) failed: /,
  })
})

test('SELinux is warned of by a host that does not have it', () => {
  const read = () => readConfig(['--selinux-enabled'])
  const warnings = existsSync('/sys/fs/selinux/enforce')
    ? []
    : ['SELinux could not be enabled: this host does not have it']
  assert.deepEqual(read().warnings, warnings)
  assert.deepEqual(readConfig(['--selinux-enabled=false']).warnings, [])
})

test('real-time shares and folders of devices are those of the options', () => {
  const { cpuRealtime, cdiFolders } = engineOf('--cpu-rt-period', '1000', '--cpu-rt-runtime', '900')
  assert.deepEqual(cpuRealtime, { period: 1000, runtime: 900 })
  assert.deepEqual(cdiFolders, ['/etc/cdi', '/var/run/cdi'])
  assert.deepEqual(engineOf('--cdi-spec-dir', '').cdiFolders, [])
  assert.deepEqual(engineOf('--cdi-spec-dir', '/a', '--cdi-spec-dir', '/b').cdiFolders, ['/a', '/b'])
})
