import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import { afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../core/errors.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { askGeneration } from '../linux/nfnetlink.ts'
import { Network } from './network.ts'
import {
  bridgeNumber,
  endpointSpec,
  inside,
  ip,
  links,
  MemoryKeeper,
  nft,
  onStage,
  Peer,
  port,
  runOnStage,
  type Stage,
  setStage,
} from './testing/stage.ts'
import type { Endpoint, FirewallMode } from './types.ts'

const table = 'berth-life'
const nothing = { bridges: [], endpoints: [], sandboxes: [] }
const one = bridgeNumber(1)

const connectPoints = [
  'net.sandbox.created',
  'net.bridge.firewall',
  'net.bridge.link',
  'net.bridge.up',
  'net.connect.bound',
  'net.connect.reserve',
  'net.connect.link',
  'net.connect.inside',
  'net.connect.publish',
  'net.connect.flows',
]

const disconnectPoints = [
  'net.disconnect.publish',
  'net.disconnect.flows',
  'net.disconnect.ports',
  'net.disconnect.link',
]

const suite = () => {
  let stage: Stage
  let keeper: MemoryKeeper
  const opened: Network[] = []

  const open = async (more: { enabled?: boolean; mode?: FirewallMode } = {}): Promise<Network> => {
    const network = await Network.open({
      execRoot: stage.execRoot,
      firewall: { table, enabled: more.enabled ?? true, mode: more.mode ?? 'open' },
      ipForward: true,
      keeper,
      containerName: id => `name-of-${id}`,
    })
    opened.push(network)
    return network
  }

  const daemon = (failpoints = '', goal = '', mode: FirewallMode = 'open'): ChildProcess =>
    spawn(
      process.execPath,
      [fileURLToPath(new URL('./testing/daemon.ts', import.meta.url)), stage.execRoot, table, goal, mode],
      {
        stdio: ['ignore', 'inherit', failpoints === '' ? 'inherit' : 'ignore', 'ipc'],
        env: { ...process.env, BERTH_FAILPOINTS: failpoints },
      },
    )

  before(async () => {
    stage = await setStage()
    keeper = new MemoryKeeper()
  })

  afterEach(async () => {
    const network = opened.at(-1)
    await network?.removeAll()
    for (const each of opened.splice(0)) await each.close()
    assert.deepEqual(links(), ['lo', 'wan0', 'wan1'])
    assert.equal(nft('list tables'), '')
    assert.deepEqual(fs.readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), '0\n')
    assert.deepEqual([...keeper.kept.keys()], [])
    assert.equal(fs.existsSync(`${stage.execRoot}/netns`), false)
  })

  test('a daemon that is killed leaves its traffic alone, and the next one adopts it', async () => {
    const first = daemon()
    const [endpoint] = (await once(first, 'message')) as [Endpoint]
    const web = await Peer.start('web', `${stage.execRoot}/netns/web`)
    const other = await Peer.start('other', stage.other)
    await web.serve(80)
    assert.equal(await other.order({ do: 'open', host: '203.0.113.1', port: 8080 }), 'web sees 203.0.113.2')
    first.kill('SIGKILL')
    await once(first, 'exit')
    assert.equal(await other.order({ do: 'say', text: 'nobody is here' }), 'nobody is here')
    const network = await open()
    const expected = { bridges: [one], endpoints: [endpoint], sandboxes: ['web'] }
    const report = await network.reconcile(expected)
    assert.deepEqual(report, {
      // The daemon of this test kept its reservations in itself, so they died with it.
      changes: ['reserved again port:web:tcp:0.0.0.0:8080', 'reserved again port:web:udp:0.0.0.0:5353'],
      endedFor: [],
      lost: [],
    })
    assert.equal(await other.order({ do: 'say', text: 'adopted' }), 'adopted')
    assert.deepEqual(await network.reconcile(expected), { changes: [], endedFor: [], lost: [] })
    assert.equal(await other.ask('203.0.113.1', 8080), 'web sees 203.0.113.2')
    await other.stop()
    await web.stop()
  })

  for (const point of [...connectPoints, ...disconnectPoints]) {
    test(`killed at ${point}, nothing is left after the next start`, async () => {
      const first = daemon(`${point}=kill`, point.includes('disconnect') ? 'disconnect' : '')
      const [, signal] = await once(first, 'exit')
      assert.equal(signal, 'SIGKILL')
      const network = await open()
      const report = await network.reconcile(nothing)
      assert.deepEqual(report.lost, [])
      assert.deepEqual(links(), ['lo', 'wan0', 'wan1'])
      assert.deepEqual(await network.reconcile(nothing), { changes: [], endedFor: [], lost: [] })
    })
  }

  const routingRules = (): number => inside('/proc/self/ns/net', 'ip', 'rule').trim().split('\n').length

  for (const point of ['net.detour.link', 'net.detour.route', 'net.detour.rules']) {
    test(`killed at ${point}, the way round is completed, or taken away where it is not wanted`, async () => {
      for (const mode of ['host', 'open'] as const) {
        const first = daemon(`${point}=kill`, '', 'host')
        assert.equal((await once(first, 'exit'))[1], 'SIGKILL')
        const network = await open({ mode })
        await network.reconcile(nothing)
        assert.equal(routingRules(), mode === 'host' ? 5 : 3)
        assert.equal(links().filter(name => /^(ask|back)/.test(name)).length, mode === 'host' ? 2 : 0)
        await network.removeAll()
        assert.equal(routingRules(), 3)
      }
    })
  }

  for (const point of connectPoints.filter(name => name.startsWith('net.connect'))) {
    test(`a connect that fails at ${point} takes back all of its steps`, async () => {
      const first = daemon(`${point}=error`)
      const [code] = await once(first, 'exit')
      assert.equal(code, 1)
      assert.deepEqual(links(), [one.link, 'lo', 'wan0', 'wan1'])
      assert.doesNotMatch(nft('list ruleset'), /172\.30\.1\.2/)
      assert.doesNotMatch(inside(`${stage.execRoot}/netns/web`, 'ip', '-br', 'link'), /eth0/)
      await open()
    })
  }

  test('what was broken while no daemon was there is repaired', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    const pin = network.createSandbox('web')
    const spec = endpointSpec('web', one, { ipv4: '172.30.1.2', ports: [port(8080, 80)] })
    const endpoint = await network.connect(spec)
    const expected = { bridges: [one], endpoints: [endpoint], sandboxes: ['web'] }
    const web = await Peer.start('web', pin)
    const host = await Peer.start('host')
    await web.serve(80)
    const damage = [
      `nft delete table inet ${table}`,
      `nft flush map inet ${table} published_any`,
      `ip link del ${one.link}`,
      `ip link del ${endpoint.hostLink}`,
      `ip link set ${endpoint.hostLink} nomaster`,
      `ip addr del ${one.gateway}/24 dev ${one.link}`,
    ]
    for (const line of damage) {
      if (line.startsWith('nft')) nft(line.slice(4))
      else ip(line.slice(3))
      await network.reconcile(expected)
      assert.equal(await host.ask('127.0.0.1', 8080), 'web sees 172.30.1.1', line)
    }
    await web.stop()
    await host.stop()
  })

  test('an endpoint whose sandbox is gone is told as lost, and its port is free', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    network.createSandbox('web')
    const spec = endpointSpec('web', one, { ipv4: '172.30.1.2', ports: [port(8080, 80)] })
    const endpoint = await network.connect(spec)
    network.removeSandbox('web')
    await network.linkGone(endpoint)
    const report = await network.reconcile({ bridges: [one], endpoints: [endpoint], sandboxes: ['web'] })
    assert.deepEqual(report.lost, [endpoint])
    assert.doesNotMatch(nft(`list map inet ${table} published_any`), /8080/)
  })

  test('an address returns to its pool when its link is gone, not before', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    network.addresses.open(one.networkId, { subnet: one.subnet, reserved: [one.gateway] })
    const pool = network.addresses.pool(one.networkId)
    const pin = network.createSandbox('web')
    const ipv4 = pool.allocate()
    assert.equal(ipv4, '172.30.1.2')
    const endpoint = await network.connect(endpointSpec('web', one, { ipv4 }))
    const last = await Peer.start('last process', pin)
    await network.disconnect(endpoint, { sandboxEnds: true })
    network.removeSandbox('web')
    assert.equal(pool.used, 1)
    await last.stop()
    await network.linkGone(endpoint)
    assert.equal(pool.used, 0)
  })

  test('disconnecting a sandbox that goes on takes its interface away', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    const pin = network.createSandbox('web')
    const endpoint = await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2' }))
    assert.equal(network.stats(endpoint).rxErrors, 0n)
    await network.disconnect(endpoint, { sandboxEnds: false })
    assert.doesNotMatch(inside(pin, 'ip', '-br', 'link'), /eth0/)
    await network.disconnect(endpoint, { sandboxEnds: false })
    const again = await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2' }))
    assert.match(inside(pin, 'ip', '-br', 'addr'), /eth0\S* +UP +172\.30\.1\.2\/24/)
    await network.disconnect(again, { sandboxEnds: true })
  })

  test('a port that another has is refused in its words, and nothing is left of the try', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    for (const id of ['web', 'second']) network.createSandbox(id)
    await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports: [port(8080, 80)] }))
    const tables = nft('list ruleset')
    const before = links()
    const refused = async (...ports: ReturnType<typeof port>[]): Promise<string> =>
      network.connect(endpointSpec('second', one, { ipv4: '172.30.1.3', ports })).then(
        () => 'accepted',
        error => messageOf(error),
      )
    assert.equal(
      await refused(port(9090, 80), port(8080, 80)),
      'Bind for 0.0.0.0:8080 failed: port is already allocated (by container name-of-web)',
    )
    assert.match(await refused(port(8080, 80, { hostIp: '127.0.0.1' })), /port is already allocated/)
    const server = net.createServer().listen(9091, '127.0.0.1')
    await once(server, 'listening')
    assert.equal(
      await refused(port(9090, 80), port(9091, 80)),
      `failed to bind host port for 0.0.0.0:9091/tcp: address already in use (by node-MainThread, process ${process.pid})`,
    )
    server.close()
    await once(server, 'close')
    assert.match(
      await refused(port(80, 80, { hostIp: '192.0.2.9' })),
      /192\.0\.2\.9:80\/tcp: cannot assign requested address/,
    )
    assert.equal(nft('list ruleset'), tables)
    assert.deepEqual(links(), before)
    assert.deepEqual([...keeper.kept.keys()], ['port:web:tcp:0.0.0.0:8080'])
  })

  test('a held port cannot be taken by another program, a linger of its old one does not matter', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    network.createSandbox('web')
    const server = net.createServer(socket => socket.end('bye')).listen(8080)
    await once(server, 'listening')
    const client = net.connect(8080, '127.0.0.1').resume()
    await once(client, 'close')
    server.close()
    await once(server, 'close')
    await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports: [port(8080, 80)] }))
    const thief = net.createServer().listen(8080)
    const [error] = await once(thief, 'error')
    assert.equal(error.code, 'EADDRINUSE')
  })

  test('many ports are looked up at once and all published', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    for (const id of ['web', 'second']) network.createSandbox(id)
    const ports = Array.from({ length: 300 }, (_, i) => port(20_000 + i, 1000 + i))
    const server = net.createServer().listen(20_150)
    await once(server, 'listening')
    const spec = endpointSpec('web', one, { ipv4: '172.30.1.2', ports })
    await assert.rejects(network.connect(spec), /0\.0\.0\.0:20150\/tcp: address already in use/)
    server.close()
    await once(server, 'close')
    const endpoint = await network.connect(spec)
    assert.equal(endpoint.published.length, 300)
    assert.deepEqual([...keeper.kept.keys()], [])
    await network.disconnect(endpoint, { sandboxEnds: true })
  })

  test('a range of 10,000 ports is one transaction, and its ends and middle go where they should', async () => {
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    const web = await Peer.start('web', network.createSandbox('web'))
    const other = await Peer.start('other', stage.other)
    const tried = [20_000, 25_000, 29_999]
    for (const number of [...tried, 30_000]) await web.serve(number)
    using socket = new NetlinkSocket(protocols.netfilter)
    const transactions = (): number => askGeneration(socket).generation
    const before = transactions()
    const ports = Array.from({ length: 10_000 }, (_, i) => port(20_000 + i, 20_000 + i))
    const endpoint = await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports }))
    assert.equal(transactions(), before + 1)
    for (const number of tried) assert.equal(await other.ask('203.0.113.1', number), 'web sees 203.0.113.2')
    assert.equal(await other.ask('203.0.113.1', 30_000), 'ECONNREFUSED')
    await network.disconnect(endpoint, { sandboxEnds: false })
    assert.equal(transactions(), before + 2)
    for (const number of tried) assert.equal(await other.ask('203.0.113.1', number), 'ECONNREFUSED')
    for (const peer of [web, other]) await peer.stop()
  })

  for (const count of [1, 1000])
    test(`a datagram flow from before ${count} ports are published, and one from before they are not, are forgotten`, async () => {
      const network = await open()
      await network.reconcile(nothing)
      network.ensureBridge(one)
      const pin = network.createSandbox('web')
      const web = await Peer.start('web', pin)
      const host = await Peer.start('host')
      const other = await Peer.start('other', stage.other)
      await web.serve(53, { protocol: 'udp' })
      await host.serve(5300, { protocol: 'udp', host: '203.0.113.1' })
      const ask = () => other.ask('203.0.113.1', 5300, { protocol: 'udp', from: 4444, patience: 2000 })
      assert.equal(await ask(), 'host sees 203.0.113.2')
      await host.stop()
      const more = Array.from({ length: count - 1 }, (_, i) => port(6000 + i, 6000 + i, { protocol: 'udp' }))
      const ports = [port(5300, 53, { protocol: 'udp' }), ...more]
      const endpoint = await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports }))
      assert.equal(await ask(), 'web sees 203.0.113.2')
      await network.disconnect(endpoint, { sandboxEnds: true })
      const successor = await Peer.start('successor')
      await successor.serve(5300, { protocol: 'udp', host: '203.0.113.1' })
      assert.equal(await ask(), 'successor sees 203.0.113.2')
      for (const peer of [web, other, successor]) await peer.stop()
    })

  test("another's bridge is used and not changed, another's table and links are let be", async () => {
    ip(`link add ${one.link} type bridge`)
    nft('add table inet strangers')
    const before = inside('/proc/self/ns/net', 'ip', '-d', 'link', 'show', one.link)
    const network = await open()
    await network.reconcile(nothing)
    assert.throws(() => network.ensureBridge(one), /is not this network's/)
    const foreign = { ...one, foreign: true }
    network.ensureBridge(foreign)
    network.removeBridge(foreign)
    assert.equal(inside('/proc/self/ns/net', 'ip', '-d', 'link', 'show', one.link), before)
    await network.removeAll()
    assert.equal(nft('list tables'), 'table inet strangers\n')
    nft('delete table inet strangers')
    ip(`link del ${one.link}`)
    fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '0')
  })

  test('forwarding that was on already stays on, and nothing of others is dropped', async () => {
    fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
    const network = await open()
    await network.reconcile(nothing)
    network.ensureBridge(one)
    assert.doesNotMatch(nft(`list chain inet ${table} foreign`), /drop/)
    await network.removeAll()
    assert.equal(fs.readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), '1\n')
    fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '0')
  })

  test('without a firewall no rule is made', async () => {
    const network = await open({ enabled: false })
    await network.reconcile(nothing)
    network.ensureBridge(one)
    network.createSandbox('web')
    await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports: [port(8080, 80)] }))
    assert.equal(nft('list tables'), '')
  })
}

if (onStage) describe('life cycle', suite)
else {
  test('life cycle, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
