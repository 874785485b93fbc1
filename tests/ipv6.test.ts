import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { joinOtherHost, type OtherHost } from './harness/otherHost.ts'
import { type Outcome, run } from './harness/shell.ts'

/** Networks with both families, through the real client. */

let daemon: TestDaemon
const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const refused = async (...args: string[]): Promise<string> => (await daemon.docker(args)).stderr

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const onOther = ({ namespace }: OtherHost, command: string[]): Promise<Outcome> =>
  run(['nsenter', `--net=${namespace}`, ...command])

const sleeper = (name: string, ...more: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...more, 'busybox', 'sleep', '1000')

const server = (name: string, ...more: string[]): Promise<string> =>
  docker(
    ...['run', '-d', '--name', name, ...more, 'busybox', 'sh', '-c'],
    `mkdir /www; echo ${name} >/www/index.html; exec httpd -f -p '[::]:80' -h /www`,
  )

interface Shown {
  EnableIPv6: boolean
  IPAM: { Config: { Subnet: string; Gateway: string; IPRange?: string }[] }
  Containers: Record<string, { IPv4Address: string; IPv6Address: string }>
}

const shown = async (name: string): Promise<Shown> =>
  (JSON.parse(await docker('network', 'inspect', name)) as [Shown])[0]

const ip6 = (name: string, network: string): Promise<string> =>
  docker('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").GlobalIPv6Address}}`, name)

test('a network with IPv6 has a unique local subnet of its own, and its containers addresses of both families', async () => {
  await docker('network', 'create', '--ipv6', 'dual')
  const { EnableIPv6, IPAM } = await shown('dual')
  assert.equal(EnableIPv6, true)
  assert.match(IPAM.Config[1]?.Subnet ?? '', /^fd[0-9a-f:]+::\/64$/)
  assert.equal(IPAM.Config[1]?.Gateway, IPAM.Config[1]?.Subnet.replace('/64', '1'))
  await docker('network', 'create', '--ipv6', 'other')
  assert.notEqual((await shown('other')).IPAM.Config[1]?.Subnet, IPAM.Config[1]?.Subnet)
  await docker('network', 'rm', 'other')
  await sleeper('one', '--network', 'dual')
  const address = await ip6('one', 'dual')
  assert.equal(address, IPAM.Config[1]?.Subnet.replace('/64', '2'))
  const inside = await docker('exec', 'one', 'ip', '-6', 'addr', 'show', 'eth0')
  assert.match(inside, new RegExp(`inet6 ${address}/64 scope global`))
  assert.match(
    await docker('exec', 'one', 'ip', '-6', 'route'),
    new RegExp(`default via ${IPAM.Config[1]?.Gateway} `),
  )
  assert.match(await docker('exec', 'one', 'cat', '/etc/hosts'), new RegExp(`^${address}\t`, 'm'))
  const listed = Object.values((await shown('dual')).Containers)[0]
  assert.equal(listed?.IPv6Address, `${address}/64`)
})

test('containers find and reach one another and the host by IPv6, by address and by name', async () => {
  await server('web', '--network', 'dual')
  const address = await ip6('web', 'dual')
  assert.equal(await docker('exec', 'one', 'wget', '-qO-', `http://[${address}]/`), 'web')
  assert.match(
    await docker('exec', 'one', 'nslookup', '-type=aaaa', 'web'),
    new RegExp(`Address: ${address}`),
  )
  assert.match(await docker('exec', 'one', 'nslookup', address), /name = web\.dual/)
  await docker('exec', 'one', 'ping', '-6', '-c', '1', '-W', '10', 'web')
  const host = await daemon.onHost(['curl', '-s', `http://[${address}]/`])
  assert.equal(host.stdout.trim(), 'web')
  await docker('rm', '-f', 'web')
})

test('addresses are as they were asked for, in whichever form, or refused in Docker’s words', async () => {
  await docker(
    ...['network', 'create', '--ipv6', '--subnet', '10.77.0.0/24', '--subnet', '2001:DB8:5::/64'],
    ...['--gateway', '2001:db8:5::ff', '--ip-range', '2001:db8:5::100/120', 'given'],
  )
  const config = (await shown('given')).IPAM.Config[1]
  assert.deepEqual(
    [config?.Subnet, config?.Gateway, config?.IPRange],
    ['2001:db8:5::/64', '2001:db8:5::ff', '2001:db8:5::100/120'],
  )
  await sleeper('chosen', '--network', 'given')
  assert.equal(await ip6('chosen', 'given'), '2001:db8:5::100')
  await sleeper('asked', '--network', 'given', '--ip6', '2001:DB8:5:0::42', '--ip', '10.77.0.42')
  assert.equal(await ip6('asked', 'given'), '2001:db8:5::42')
  const asking = (...more: string[]): Promise<string> =>
    refused('run', '--rm', '--network', 'given', ...more, 'busybox', 'true')
  assert.match(await asking('--ip6', '2001:db8:5::42'), /Address already in use/)
  assert.match(
    await asking('--ip6', '2001:db8:6::1'),
    /no configured subnet contains IP address 2001:db8:6::1/,
  )
  assert.match(await asking('--ip6', '10.77.0.9'), /invalid IPv6 address: 10\.77\.0\.9/)
  assert.match(
    await refused('network', 'create', '--ipv6', '--subnet', '2001:db8:5::/80', 'again'),
    /Pool overlaps with other one on this address space/,
  )
  assert.match(
    await refused('network', 'create', '--ipv6', '--subnet', '2001:db8:7::1/64', 'wrong'),
    /invalid subnet 2001:db8:7::1\/64: it should be 2001:db8:7::\/64/,
  )
  await docker('rm', '-f', 'asked', 'chosen')
  await sleeper('later')
  await docker('network', 'connect', '--ip6', '2001:db8:5::77', 'given', 'later')
  assert.equal(await ip6('later', 'given'), '2001:db8:5::77')
  assert.match(
    await docker('exec', 'later', 'ip', '-6', 'route'),
    /default via 2001:db8:5::ff/,
    'where both families are',
  )
  await docker('network', 'disconnect', 'given', 'later')
  assert.doesNotMatch(await docker('exec', 'later', 'ip', '-6', 'route'), /default/)
  assert.doesNotMatch(await docker('exec', 'later', 'cat', '/etc/hosts'), /2001:db8/)
  assert.match(
    await docker(
      'run',
      '--rm',
      '--network',
      'given',
      '--link-local-ip',
      'fe80::77',
      'busybox',
      'ip',
      '-6',
      'addr',
    ),
    /fe80::77\/64 scope link/,
  )
  await docker('network', 'create', 'single')
  assert.match(
    await refused('run', '--rm', '--network', 'single', '--link-local-ip', 'fe80::77', 'busybox', 'true'),
    /link-local IP address fe80::77 needs a network with IPv6/,
  )
  await docker('rm', '-f', 'later')
  await docker('network', 'rm', 'given', 'single')
  await docker('network', 'create', '--config-only', '--ipv6', '--subnet', '2001:db8:8::/64', 'pattern')
  await docker('network', 'create', '--config-from', 'pattern', 'copied')
  assert.equal((await shown('copied')).IPAM.Config[1]?.Subnet, '2001:db8:8::/64')
  await docker('network', 'rm', 'copied', 'pattern')
})

test('ports are published for both families under one number, for others and for the host', async t => {
  const host = await joinOtherHost(daemon.name, { near: '2001:db8:1::1', far: '2001:db8:1::2' })
  t.after(() => host.close())
  await server('shown', '--network', 'dual', '-p', '8080:80', '-p', '81')
  const port = await docker('port', 'shown', '80')
  assert.deepEqual(port.split('\n').sort(), ['0.0.0.0:8080', '[::]:8080'])
  const [first, second] = (await docker('port', 'shown', '81'))
    .split('\n')
    .map(line => line.replace(/.*:/, ''))
  assert.equal(first, second, 'a number that is free in both')
  assert.match(await docker('ps', '--filter', 'name=shown', '--format', '{{.Ports}}'), /:::8080->80\/tcp/)
  assert.equal((await onOther(host, ['curl', '-s', 'http://[2001:db8:1::1]:8080/'])).stdout.trim(), 'shown')
  assert.equal((await daemon.onHost(['curl', '-s', 'http://[2001:db8:1::1]:8080/'])).stdout.trim(), 'shown')
  assert.equal(
    await docker('exec', 'one', 'wget', '-qO-', 'http://[2001:db8:1::1]:8080/'),
    'shown',
    'by a neighbour',
  )
  const loopback = await daemon.onHost(['curl', '-s', '--max-time', '5', 'http://[::1]:8080/'])
  assert.equal(loopback.code, 7, 'refused at once, so that clients try 127.0.0.1')
  assert.match(
    await refused('run', '--rm', '-p', '[::]:8080:80', '--network', 'dual', 'busybox', 'true'),
    /Bind for \[::\]:8080 failed: port is already allocated/,
  )
  assert.match(
    await refused('run', '--rm', '-p', '[::]:9000:80', 'busybox', 'true'),
    /cannot publish port 80 on \[::\]: the container has no IPv6 address: put it on a network with IPv6/,
  )
  assert.match(
    await refused('run', '--rm', '-p', '[::1]:9000:80', '--network', 'dual', 'busybox', 'true'),
    /use 127\.0\.0\.1/,
  )
  await daemon.restart()
  assert.equal(
    (await onOther(host, ['curl', '-s', 'http://[2001:db8:1::1]:8080/'])).stdout.trim(),
    'shown',
    'by a new daemon',
  )
  const address = await ip6('shown', 'dual')
  const gateway = await onOther(host, ['curl', '-s', '--max-time', '3', `http://[${address}]/`])
  assert.notEqual(gateway.code, 0, 'nothing else comes in')
  await docker('rm', '-f', 'shown')
  const gone = await onOther(host, ['curl', '-s', '--max-time', '5', 'http://[2001:db8:1::1]:8080/'])
  assert.equal(gone.code, 7)
})

test('without icc containers do not reach one another by IPv6 either, and an internal network leads nowhere', async () => {
  await docker(
    ...['network', 'create', '--ipv6', '-o', 'com.docker.network.bridge.enable_icc=false', 'apart'],
  )
  await server('alone', '--network', 'apart')
  await sleeper('asking', '--network', 'apart')
  const wget = (from: string, address: string) =>
    daemon.docker(['exec', from, 'timeout', '5', 'wget', '-qO-', `http://[${address}]/`])
  const address = await ip6('alone', 'apart')
  assert.notEqual((await wget('asking', address)).code, 0)
  assert.equal((await daemon.onHost(['curl', '-s', `http://[${address}]/`])).stdout.trim(), 'alone')
  await docker('rm', '-f', 'alone', 'asking')
  await docker('network', 'create', '--ipv6', '--internal', 'inner')
  await server('hidden', '--network', 'inner')
  assert.doesNotMatch(await docker('exec', 'hidden', 'ip', '-6', 'route'), /default/)
  assert.notEqual((await wget('one', await ip6('hidden', 'inner'))).code, 0)
  await docker('rm', '-f', 'hidden')
  await docker('network', 'rm', 'apart', 'inner')
})

test('what leaves goes under the host’s address, and the host goes on hearing its router', async t => {
  const host = await joinOtherHost(daemon.name, { near: '2001:db8:2::1', far: '2001:db8:2::2' })
  t.after(() => host.close())
  await docker('exec', 'one', 'ping', '-6', '-c', '1', '-W', '10', '2001:db8:2::2')
  const sysctl = (name: string): Promise<string> =>
    daemon.onHost(['cat', `/proc/sys/net/ipv6/conf/${name}`]).then(({ stdout }) => stdout.trim())
  assert.equal(await sysctl('all/forwarding'), '1')
  assert.equal(await sysctl('lo/accept_ra'), '2')
})

test('the default bridge has IPv6 where the daemon is told so', async () => {
  await docker('rm', '-f', 'one')
  await daemon.kill('SIGTERM')
  await daemon.start({ flags: ['--ipv6', '--fixed-cidr-v6', '2001:db8:9::/64'] })
  await server('plain', '-p', '8088:80')
  assert.equal(await ip6('plain', 'bridge'), '2001:db8:9::2')
  assert.match(await docker('port', 'plain'), /\[::\]:8088/)
  await docker('rm', '-f', 'plain')
  await daemon.kill('SIGTERM')
  await daemon.start({
    flags: [
      '--ipv6',
      '--bip6',
      '2001:db8:a::5/64',
      '--fixed-cidr-v6',
      '2001:db8:a::80/122',
      '--default-gateway-v6',
      '2001:db8:a::9',
      '--ip6tables=false',
    ],
  })
  await sleeper('plain', '-p', '8088:80')
  assert.equal(await ip6('plain', 'bridge'), '2001:db8:a::80')
  assert.match(await docker('exec', 'plain', 'ip', '-6', 'route'), /default via 2001:db8:a::9/)
  assert.doesNotMatch(await docker('port', 'plain'), /\[::\]/, 'nothing is published without rules')
  await docker('rm', '-f', 'plain')
  const { stdout } = await daemon.onHost(['nft', 'list', 'ruleset'])
  assert.match(stdout, /meta nfproto ipv6 accept/)
  await daemon.kill('SIGTERM')
  const log = readFileSync(`${daemon.base}/daemon.log`, 'utf8')
  await assert.rejects(daemon.start({ flags: ['--ipv6', '--bip6', '10.0.0.1/8'] }), /not an IPv6 address/)
  assert.ok(log.length > 0)
  await daemon.start()
})
