import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Network } from './network.ts'
import {
  bridgeNumber,
  endpointSpec,
  inside,
  ip,
  MemoryKeeper,
  nft,
  onStage,
  Peer,
  port,
  runOnStage,
  type Stage,
  setStage,
} from './testing/stage.ts'
import type { BridgeSpec, FirewallSettings } from './types.ts'

/** How a network meets the world, by its driver's options and the daemon's: each by real packets. */

const table = 'berth-modes'

const suite = () => {
  let stage: Stage
  let network: Network
  let other: Peer
  let third: Peer
  let host: Peer
  let web: Peer

  before(async () => {
    stage = await setStage()
    other = await Peer.start('other', stage.other)
    third = await Peer.start('third', stage.third)
    host = await Peer.start('host')
    await other.serve(7000)
    await third.serve(7000)
  })

  afterEach(async () => {
    await web.stop()
    await network.removeAll()
    await network.close()
    fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '0')
  })

  after(async () => {
    for (const peer of [other, third, host]) await peer.stop()
  })

  /** A container with servers on 80, which is published at 8080, and on 81. */
  const withWeb = async (
    more: Partial<BridgeSpec>,
    settings: Partial<FirewallSettings> = {},
  ): Promise<BridgeSpec> => {
    network = await Network.open({
      execRoot: stage.execRoot,
      firewall: { table, enabled: true, mode: 'open', ...settings },
      ipForward: true,
      keeper: new MemoryKeeper(),
    })
    await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    const bridge = { ...bridgeNumber(1), ...more }
    network.ensureBridge(bridge)
    const pin = network.createSandbox('web')
    await network.connect(endpointSpec('web', bridge, { ipv4: '172.30.1.2', ports: [port(8080, 80)] }))
    web = await Peer.start('web', pin)
    for (const number of [80, 81]) await web.serve(number)
    return bridge
  }

  const directly = (peer: Peer, number: number): Promise<string> => peer.ask('172.30.1.2', number)
  const inVain = (peer: Peer, number: number): Promise<string> => peer.askInVain('172.30.1.2', number)

  test('routed: published ports are open under the container’s own address, and nothing is translated', async () => {
    await withWeb({ gatewayMode: 'routed' })
    assert.equal(await directly(other, 80), 'web sees 203.0.113.2')
    assert.equal(await inVain(other, 81), 'no answer')
    assert.equal(await other.ask('203.0.113.1', 8080), 'ECONNREFUSED')
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 172.30.1.2')
    assert.match(
      inside(stage.other, 'busybox', 'ping', '-c', '1', '-W', '10', '172.30.1.2'),
      / 0% packet loss/,
    )
  })

  test('nat-unprotected: all ports can be reached directly, and published ones by the host, too', async () => {
    await withWeb({ gatewayMode: 'nat-unprotected' })
    assert.equal(await directly(other, 80), 'web sees 203.0.113.2')
    assert.equal(await directly(other, 81), 'web sees 203.0.113.2')
    assert.equal(await other.ask('203.0.113.1', 8080), 'web sees 203.0.113.2')
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 203.0.113.1')
  })

  test('trusted interfaces: what is published can be reached directly from there, and from nowhere else', async () => {
    await withWeb({ trusted: ['wan0'] })
    assert.equal(await directly(other, 80), 'web sees 203.0.113.2')
    assert.equal(await inVain(other, 81), 'no answer')
    assert.equal(await inVain(third, 80), 'no answer')
    assert.equal(await third.ask('198.18.0.1', 8080), 'web sees 198.18.0.2')
  })

  test('isolated: the bridge has no address, and not even the host reaches its containers', async () => {
    const bridge = await withWeb({ gatewayMode: 'isolated', internal: true, bare: true })
    assert.doesNotMatch(inside('/proc/self/ns/net', 'ip', 'addr', 'show', bridge.link), /inet /)
    // Neither the host nor a machine that sends its way has a route there.
    for (const peer of [other, host]) assert.equal(await inVain(peer, 80), 'ENETUNREACH')
    const pin = network.createSandbox('near')
    await network.connect(endpointSpec('near', bridge, { ipv4: '172.30.1.3' }))
    const near = await Peer.start('near', pin)
    assert.equal(await directly(near, 81), 'web sees 172.30.1.3')
    await near.stop()
  })

  test('what leaves has the address that was named, or the container’s own where nothing is masqueraded', async () => {
    ip('addr add 203.0.113.77/24 dev wan0')
    await withWeb({ sourceAddress: '203.0.113.77' })
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 203.0.113.77')
    await web.stop()
    await network.removeAll()
    await network.close()
    await withWeb({ masquerade: false })
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 172.30.1.2')
    ip('addr del 203.0.113.77/24 dev wan0')
  })

  test('another machine on the bridge is the way out where it is named', async () => {
    await withWeb({ defaultGateway: '172.30.1.254' })
    assert.match(inside(network.sandboxPath('web'), 'ip', 'route'), /default via 172\.30\.1\.254 dev eth0/)
    assert.match(inside('/proc/self/ns/net', 'ip', 'addr', 'show', 'bt1'), /inet 172\.30\.1\.1\/24/)
  })

  test('--allow-direct-routing: published ports alone are open under the container’s address to everyone', async () => {
    await withWeb({}, { directRouting: true })
    assert.equal(await directly(other, 80), 'web sees 203.0.113.2')
    assert.equal(await directly(third, 80), 'web sees 198.18.0.2')
    assert.equal(await inVain(other, 81), 'no answer')
    assert.equal(await other.ask('203.0.113.1', 8080), 'web sees 203.0.113.2')
  })

  test('--bridge-accept-fwmark: what bears the mark passes, what bears another does not', async () => {
    await withWeb({}, { acceptMark: { mark: 0x10, mask: 0xf0 } })
    nft('add table inet marker')
    nft('add chain inet marker in { type filter hook prerouting priority mangle; }')
    nft('add rule inet marker in iifname wan0 meta mark set 0x12')
    nft('add rule inet marker in iifname wan1 meta mark set 0x22')
    assert.equal(await directly(other, 81), 'web sees 203.0.113.2')
    assert.equal(await inVain(third, 81), 'no answer')
    nft('delete table inet marker')
  })

  test('--ip-forward-no-drop: the host routes for others where forwarding was turned on here', async () => {
    await withWeb({}, { keepForwarding: true })
    assert.equal(await other.ask('198.18.0.2', 7000), 'third sees 203.0.113.2')
    assert.equal(await inVain(other, 81), 'no answer')
  })
}

if (onStage) describe('gateway modes', suite)
else {
  test('gateway modes, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
