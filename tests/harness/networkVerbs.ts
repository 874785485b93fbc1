import assert from 'node:assert/strict'
import type { TestDaemon } from './daemon.ts'
import type { Verb } from './verbs.ts'

/** The verbs of networks, for the crash tests. */

const sleeper = ['busybox', 'sleep', '1000']

const names = async (daemon: TestDaemon): Promise<string[]> =>
  (await daemon.mustDocker(['network', 'ls', '--format', '{{.Name}}', '-f', 'type=custom']))
    .split('\n')
    .filter(Boolean)

const removeNetworks = async (daemon: TestDaemon): Promise<void> => {
  const found = await names(daemon)
  if (found.length > 0) await daemon.mustDocker(['network', 'rm', ...found])
}

/** One of them has both families. */
const hasIpv6 = (network: string): boolean => network === 'aa'

const makeNetworks = async (daemon: TestDaemon, wanted: string[]): Promise<void> => {
  await removeNetworks(daemon)
  for (const name of wanted)
    await daemon.mustDocker(['network', 'create', ...(hasIpv6(name) ? ['--ipv6'] : []), name])
}

/** A container on it has an address and a way out, and both can go. */
const isUsable = async (daemon: TestDaemon, network: string): Promise<void> => {
  await daemon.mustDocker(['run', '-d', '--name', 'user', '--network', network, ...sleeper])
  assert.match(await daemon.mustDocker(['exec', 'user', 'ip', 'route']), /default via .* dev eth0/)
  await daemon.mustDocker(['rm', '-f', 'user'])
  await daemon.mustDocker(['network', 'rm', network])
}

/** Of the container `web`, by which network it can leave: `aa` comes before `bb`. */
const wayOut = async (daemon: TestDaemon): Promise<string> => {
  const gateway = /default via (\S+)/.exec(await daemon.mustDocker(['exec', 'web', 'ip', 'route']))?.[1]
  for (const network of await names(daemon)) {
    const format = '{{(index .IPAM.Config 0).Gateway}}'
    if ((await daemon.mustDocker(['network', 'inspect', '-f', format, network])) === gateway) return network
  }
  return ''
}

const networksOf = async (daemon: TestDaemon): Promise<string[]> =>
  Object.keys(
    JSON.parse(await daemon.mustDocker(['inspect', '-f', '{{json .NetworkSettings.Networks}}', 'web'])),
  ).sort()

const page = 'mkdir /w; echo page > /w/index.html; httpd -f -h /w'

const makeWeb = async (daemon: TestDaemon, wanted: string[]): Promise<void> => {
  await makeNetworks(daemon, ['aa', 'bb'])
  await daemon.mustDocker([
    ...['run', '-d', '--name', 'web', '-p', '8090:80', '--network', 'bb', 'busybox', 'sh', '-c', page],
  ])
  if (wanted.includes('aa')) await daemon.mustDocker(['network', 'connect', 'aa', 'web'])
}

/** On these networks and no others, it leaves by the first of them, and its page is served. */
const isOn = async (daemon: TestDaemon, wanted: string[]): Promise<void> => {
  assert.deepEqual(await networksOf(daemon), wanted)
  assert.equal(await wayOut(daemon), wanted[0])
  const ways = await daemon.mustDocker(['exec', 'web', 'ip', '-6', 'route'])
  assert.equal(/^default via fd/m.test(ways), hasIpv6(wanted[0] ?? ''), ways)
  const links = await daemon.mustDocker(['exec', 'web', 'sh', '-c', 'ls /sys/class/net | grep -c eth'])
  assert.equal(Number(links), wanted.length)
  const fetch = ['curl', '-s', '-m', '10', '--retry', '10', '--retry-connrefused', 'http://127.0.0.1:8090']
  assert.equal((await daemon.onHost(fetch)).stdout, 'page\n')
}

const finish = async (daemon: TestDaemon): Promise<void> => {
  await daemon.mustDocker(['rm', '-f', 'web'])
  await removeNetworks(daemon)
}

const gatewayPoints = ['net.gateway.unpublished', 'net.gateway.routed', 'net.gateway.published']

/** A container on a user-defined network, whatever became of it, finds itself by its name once it runs. */
const isNamed = async (daemon: TestDaemon): Promise<void> => {
  const { stdout } = await daemon.docker(['ps', '-aq', '-f', 'name=named'])
  if (stdout.trim() === '')
    await daemon.mustDocker(['create', '--name', 'named', '--network', 'aa', ...sleeper])
  await daemon.mustDocker(['start', 'named'])
  const address = await daemon.mustDocker([
    ...['inspect', '-f', '{{.NetworkSettings.Networks.aa.IPAddress}}', 'named'],
  ])
  const answer = await daemon.mustDocker(['exec', 'named', 'nslookup', '-type=a', 'named'])
  assert.ok(answer.includes(`Address: ${address}`), answer)
  await daemon.mustDocker(['rm', '-f', 'named'])
  await removeNetworks(daemon)
}

export const networkVerbs: Verb[] = [
  {
    name: 'run on a network',
    points: ['net.dns.sockets', 'net.dns.half', 'net.dns.kept', 'net.dns.served'],
    prepare: daemon => makeNetworks(daemon, ['aa']),
    run: daemon => daemon.docker(['run', '-d', '--name', 'named', '--network', 'aa', ...sleeper]),
    check: isNamed,
  },
  {
    name: 'rm -f of one on a network',
    points: ['net.dns.closed'],
    prepare: async daemon => {
      await makeNetworks(daemon, ['aa'])
      await daemon.mustDocker(['run', '-d', '--name', 'named', '--network', 'aa', ...sleeper])
    },
    run: daemon => daemon.docker(['rm', '-f', 'named']),
    check: isNamed,
  },
  {
    name: 'network create',
    points: [
      ...['net.bridge.firewall', 'net.bridge.link', 'net.bridge.up', 'network.create.made'],
      'network.create.recorded',
    ],
    prepare: removeNetworks,
    run: daemon => daemon.docker(['network', 'create', '--ipv6', 'made']),
    check: async (daemon, { told, point }) => {
      const there = (await names(daemon)).includes('made')
      assert.equal(there, told || point === 'network.create.recorded')
      if (!there) await daemon.mustDocker(['network', 'create', 'made'])
      await isUsable(daemon, 'made')
    },
  },
  {
    name: 'network rm',
    points: ['network.remove.recorded', 'net.bridge.removed'],
    prepare: daemon => makeNetworks(daemon, ['gone']),
    run: daemon => daemon.docker(['network', 'rm', 'gone']),
    check: async daemon => {
      assert.deepEqual(await names(daemon), [])
      await daemon.mustDocker(['network', 'create', 'gone'])
      await isUsable(daemon, 'gone')
    },
  },
  {
    name: 'network connect',
    points: [
      ...['net.connect.link', 'net.connect.inside', 'net.connect.publish', ...gatewayPoints],
      ...['network.connect.made', 'network.connect.recorded'],
    ],
    prepare: daemon => makeWeb(daemon, ['bb']),
    run: daemon => daemon.docker(['network', 'connect', 'aa', 'web']),
    check: async (daemon, { told, point }) => {
      await isOn(daemon, told || point === 'network.connect.recorded' ? ['aa', 'bb'] : ['bb'])
      await finish(daemon)
    },
  },
  {
    name: 'network disconnect',
    points: [
      ...[...gatewayPoints, 'net.disconnect.publish', 'net.disconnect.flows', 'net.disconnect.ports'],
      ...['net.disconnect.link', 'network.disconnect.made', 'network.disconnect.recorded'],
    ],
    prepare: daemon => makeWeb(daemon, ['aa', 'bb']),
    run: daemon => daemon.docker(['network', 'disconnect', 'aa', 'web']),
    check: async (daemon, { told, point }) => {
      const done = told || point === 'network.disconnect.recorded'
      await isOn(daemon, done ? ['bb'] : ['aa', 'bb'])
      await finish(daemon)
    },
  },
]
