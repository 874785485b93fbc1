import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Network } from './network.ts'
import {
  bridgeNumber,
  craftLoopbackPackets,
  endpointSpec,
  MemoryKeeper,
  nft,
  onStage,
  Peer,
  port,
  runOnStage,
  type Stage,
  setStage,
} from './testing/stage.ts'

const table = 'berth-reach'

const suite = () => {
  const [one, two] = [bridgeNumber(1), bridgeNumber(2)]
  const peers: Peer[] = []
  let stage: Stage
  let network: Network
  let host: Peer
  let other: Peer
  let web: Peer
  let neighbour: Peer
  let stranger: Peer
  let twice: Peer

  const peer = async (name: string, namespace?: string): Promise<Peer> => {
    const started = await Peer.start(name, namespace)
    peers.push(started)
    return started
  }

  before(async () => {
    stage = await setStage()
    network = await Network.open({
      execRoot: stage.execRoot,
      firewall: { table, enabled: true, mode: 'open' },
      ipForward: true,
      keeper: new MemoryKeeper(),
    })
    await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    for (const bridge of [one, two]) network.ensureBridge(bridge)
    const ports = [
      port(8080, 80),
      port(8081, 80, { hostIp: '127.0.0.1' }),
      port(8082, 80, { hostIp: '203.0.113.1' }),
      port(5353, 53, { protocol: 'udp' }),
    ]
    const sandboxes = ['web', 'neighbour', 'stranger', 'twice'].map(id => network.createSandbox(id))
    await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports }))
    await network.connect(endpointSpec('neighbour', one, { ipv4: '172.30.1.3' }))
    await network.connect(endpointSpec('stranger', two, { ipv4: '172.30.2.2' }))
    await network.connect(endpointSpec('twice', one, { ipv4: '172.30.1.4', ports: [port(8090, 80)] }))
    const second = endpointSpec('twice', two, { ipv4: '172.30.2.4' })
    await network.connect({ ...second, interfaceName: 'eth1', defaultRoute: false })
    host = await peer('host')
    other = await peer('other', stage.other)
    web = await peer('web', sandboxes[0])
    neighbour = await peer('neighbour', sandboxes[1])
    stranger = await peer('stranger', sandboxes[2])
    twice = await peer('twice', sandboxes[3])
    await twice.serve(80)
    await web.serve(80)
    await web.serve(81)
    await web.serve(53, { protocol: 'udp' })
    await other.serve(7000)
    await host.serve(7001, { host: '127.0.0.1' })
  })

  after(async () => {
    for (const started of peers) await started.stop()
    await network.removeAll()
    await network.close()
  })

  test('another host reaches a published port, and the container sees who asks', async () => {
    assert.equal(await other.ask('203.0.113.1', 8080), 'web sees 203.0.113.2')
    assert.equal(await other.ask('203.0.113.1', 8082), 'web sees 203.0.113.2')
    assert.equal(await other.ask('203.0.113.1', 5353, { protocol: 'udp' }), 'web sees 203.0.113.2')
  })

  test('the host reaches published ports by loopback and by its own address', async () => {
    assert.equal(await host.ask('127.0.0.1', 8080), 'web sees 172.30.1.1')
    assert.equal(await host.ask('127.0.0.1', 8081), 'web sees 172.30.1.1')
    assert.match(await host.ask('203.0.113.1', 8080), /^web sees /)
    assert.match(await host.ask('203.0.113.1', 8082), /^web sees /)
    assert.equal(await host.ask('127.0.0.1', 5353, { protocol: 'udp' }), 'web sees 172.30.1.1')
  })

  test('a port published on one address is not there on another', async () => {
    assert.equal(await host.ask('127.0.0.1', 8082), 'ECONNREFUSED')
    assert.equal(await host.ask('203.0.113.1', 8081), 'ECONNREFUSED')
  })

  const reachPublished = async () => {
    assert.match(await neighbour.ask('203.0.113.1', 8080), /^web sees /)
    assert.match(await neighbour.ask('172.30.1.1', 8080), /^web sees /)
    assert.match(await stranger.ask('203.0.113.1', 8080), /^web sees /)
    assert.match(await web.ask('203.0.113.1', 8080), /^web sees /)
    // One that is a neighbour on another bridge, too, would answer there.
    assert.match(await stranger.ask('203.0.113.1', 8090), /^twice sees /)
  }

  test('containers reach a published port: neighbour, other bridge, both, itself', reachPublished)

  const sysctl = '/proc/sys/net/bridge/bridge-nf-call-iptables'
  const besides = fs.existsSync(sysctl) ? 'with and without' : 'without br_netfilter: without'
  test(`so they do ${besides} bridged packets passing the rules`, async () => {
    if (!fs.existsSync(sysctl)) return reachPublished()
    const before = fs.readFileSync(sysctl, 'utf8')
    fs.writeFileSync(sysctl, before.startsWith('1') ? '0' : '1')
    await reachPublished()
    fs.writeFileSync(sysctl, before)
  })

  test('neighbours on one bridge reach each other, published or not', async () => {
    assert.equal(await neighbour.ask('172.30.1.2', 81), 'web sees 172.30.1.3')
  })

  test('another host reaches no container address, until the rule that forbids it is gone', async () => {
    assert.equal(await other.askInVain('172.30.1.2', 81), 'no answer')
    assert.equal(await other.askInVain('172.30.1.2', 80), 'no answer')
    nft(`flush chain inet ${table} pass`)
    assert.equal(await other.ask('172.30.1.2', 81), 'web sees 203.0.113.2')
    network.ensureBridge(one)
    assert.equal(await other.askInVain('172.30.1.2', 81), 'no answer')
  })

  test('bridges are apart, until the rule that parts them is gone', async () => {
    assert.equal(await stranger.askInVain('172.30.1.2', 80), 'no answer')
    nft(`flush chain inet ${table} pass`)
    assert.equal(await stranger.ask('172.30.1.2', 80), 'web sees 172.30.2.2')
    network.ensureBridge(one)
    assert.equal(await stranger.askInVain('172.30.1.2', 80), 'no answer')
  })

  test('another host does not reach what is published on loopback, even by crafted packets', async () => {
    craftLoopbackPackets(stage.other)
    assert.equal(await other.askInVain('198.51.100.1', 8081), 'no answer')
    nft(`flush chain inet ${table} arrive; add rule inet ${table} arrive jump publish`)
    assert.equal(await other.ask('198.51.100.1', 8081), 'web sees 203.0.113.2')
    network.ensureBridge(one)
    assert.equal(await other.askInVain('198.51.100.1', 8081), 'no answer')
  })

  test("a container does not reach the host's loopback services, until the guard is gone", async () => {
    craftLoopbackPackets(network.sandboxPath('neighbour'))
    assert.equal(await neighbour.askInVain('198.51.100.1', 7001), 'no answer')
    nft(`flush chain inet ${table} guard`)
    assert.equal(await neighbour.ask('198.51.100.1', 7001), 'host sees 172.30.1.3')
    network.ensureBridge(one)
    assert.equal(await neighbour.askInVain('198.51.100.1', 7001), 'no answer')
  })

  test('what leaves a container has the address of the host', async () => {
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 203.0.113.1')
  })

  test('where forwarding was turned on here, the host routes nothing for others, containers excepted', async () => {
    const third = await peer('third', stage.third)
    await third.serve(7002)
    assert.equal(await web.ask('198.18.0.2', 7002), 'third sees 198.18.0.1')
    assert.equal(await other.askInVain('198.18.0.2', 7002), 'no answer')
    nft(`flush chain inet ${table} foreign`)
    assert.equal(await other.ask('198.18.0.2', 7002), 'third sees 203.0.113.2')
    network.ensureBridge(one)
    assert.equal(await other.askInVain('198.18.0.2', 7002), 'no answer')
  })
}

if (onStage) describe('reachability', suite)
else {
  test('reachability, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
