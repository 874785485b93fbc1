import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { after, afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Network } from './network.ts'
import {
  bridgeNumber,
  endpointSpec,
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
import type { BridgeSpec, Endpoint, FirewallMode } from './types.ts'

/** Rules of other programs, and what other programs do to ours. */

const table = 'berth-foreign'

const suite = () => {
  const one = bridgeNumber(1)
  const said: string[] = []
  let stage: Stage
  let network: Network
  let web: Peer
  let endpoint: Endpoint
  let other: Peer

  const keeper = new MemoryKeeper()
  const open = (mode: FirewallMode, acceptForeign = false): Promise<Network> =>
    Network.open({
      ...{ execRoot: stage.execRoot, ipForward: true, keeper, guard: true },
      firewall: { table, enabled: true, mode, acceptForeign },
      onWarning: text => said.push(text),
    })

  /** Waits, without a limit of its own, until a warning is said. */
  const hears = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = said.find(text => pattern.test(text))
      if (found !== undefined) return found
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }

  const blocks = async (count: number): Promise<string[]> => {
    while (network.blocks.length !== count) await new Promise(resolve => setTimeout(resolve, 10))
    return network.blocks
  }

  before(async () => {
    stage = await setStage()
    network = await open('open')
    await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    network.ensureBridge(one)
    const pin = network.createSandbox('web')
    const ports = [port(8080, 80), port(5353, 53, { protocol: 'udp' })]
    endpoint = await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports }))
    web = await Peer.start('web', pin)
    other = await Peer.start('other', stage.other)
    await web.serve(80)
    await web.serve(53, { protocol: 'udp' })
    await other.serve(7000)
  })

  afterEach(() => {
    said.length = 0
  })

  after(async () => {
    for (const peer of [web, other]) await peer.stop()
    await network.removeAll()
    await network.close()
  })

  const published = async (): Promise<void> => {
    assert.equal(await other.ask('203.0.113.1', 8080), 'web sees 203.0.113.2')
    const more = { protocol: 'udp', from: 4444 } as const
    assert.equal(await other.ask('203.0.113.1', 5353, more), 'web sees 203.0.113.2')
    assert.equal(await web.ask('203.0.113.2', 7000), 'other sees 203.0.113.1')
  }

  for (const damage of [
    'flush ruleset',
    `delete table inet ${table}`,
    `flush chain inet ${table} publish`,
    `flush map inet ${table} published_any`,
  ])
    test(`after "nft ${damage}" everything is as before, and it is said who did it`, async () => {
      await published()
      assert.equal(await other.order({ do: 'open', host: '203.0.113.1', port: 8080 }), 'web sees 203.0.113.2')
      nft(damage)
      assert.match(await hears(/own rules/), /^nft changed Berth's own rules \(table berth-foreign\)/)
      await published()
      assert.equal(await other.order({ do: 'say', text: 'still here' }), 'still here')
    })

  test('what the daemon itself changes is no news', async () => {
    network.createSandbox('second')
    const spec = endpointSpec('second', one, { ipv4: '172.30.1.3', ports: [port(9090, 80)] })
    const endpoint = await network.connect(spec)
    await network.disconnect(endpoint, { sandboxEnds: true })
    network.removeSandbox('second')
    nft('add table inet marker')
    nft(`add element inet ${table} internal { "none" }`)
    await hears(/own rules/)
    nft('delete table inet marker')
    assert.equal(said.filter(text => /own rules/.test(text)).length, 1)
  })

  test('a port is published where the table went a moment before', async () => {
    execFileSync('nft', ['flush ruleset'])
    network.createSandbox('third')
    const spec = endpointSpec('third', one, { ipv4: '172.30.1.4', ports: [port(9091, 80)] })
    const endpoint = await network.connect(spec)
    assert.match(nft(`list map inet ${table} published_any`), /9091/)
    await hears(/own rules/)
    await network.disconnect(endpoint, { sandboxEnds: true })
    network.removeSandbox('third')
    await published()
  })

  test("a forward policy of another's that drops is said with what to do, and that helps", async () => {
    nft('add table inet owner')
    nft('add chain inet owner forward { type filter hook forward priority 0; policy drop; }')
    const text = await hears(/owner/)
    assert.match(
      text,
      /chain forward of the host's table inet owner stops what containers send .* \(bt1\) by its policy/,
    )
    assert.deepEqual(await blocks(1), [text])
    assert.equal(await other.askInVain('203.0.113.1', 8080), 'no answer')
    assert.equal(await web.askInVain('203.0.113.2', 7000), 'no answer')
    const commands = /let it pass with: (.*)$/.exec(text)?.[1] ?? ''
    execFileSync('sh', ['-c', commands])
    await blocks(0)
    await published()
    nft('delete table inet owner')
  })

  test('so is one of iptables from before nftables, when it is looked at', async t => {
    const iptables = (text: string) => spawnSync('iptables-legacy', text.split(' ')).status === 0
    if (!iptables('-P FORWARD DROP')) return t.skip('this host has no iptables-legacy')
    // Nobody tells of such a change: it is seen with the next one that is told of.
    nft('add table inet marker')
    const text = await hears(/legacy/)
    const commands = /let it pass with: (.*)$/.exec(text)?.[1] ?? ''
    assert.equal(await other.askInVain('203.0.113.1', 8080), 'no answer')
    execFileSync('sh', ['-c', commands])
    nft('delete table inet marker')
    await blocks(0)
    await published()
    iptables('-P FORWARD ACCEPT')
    iptables('-F FORWARD')
  })

  test('in mode host the way round is made again, whether its rules or its links are taken', async () => {
    await network.close()
    network = await open('host')
    await network.reconcile({ bridges: [one], endpoints: [endpoint], sandboxes: ['web'] })
    await published()
    nft('flush ruleset')
    await hears(/own rules/)
    await published()
    for (let time = 0; time < 2; time++) {
      const link = links().find(name => name.startsWith('ask')) ?? ''
      said.length = 0
      ip(`link del ${link}`)
      assert.match(await hears(/deleted/), /^the link ask\w+, by which published ports are reached/)
      await published()
    }
  })

  const expected = (...bridges: BridgeSpec[]) => ({ bridges, endpoints: [endpoint], sandboxes: ['web'] })
  const ownerRules = (): string => nft('list table ip filter')
  const rulesAre = async (pattern: RegExp, wanted: boolean): Promise<void> => {
    while (pattern.test(ownerRules()) !== wanted) await new Promise(resolve => setTimeout(resolve, 10))
  }
  const dropping = `add table ip filter
    add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }
    add rule ip filter FORWARD ct state established,related accept`

  test('with accept our traffic passes, after each change of theirs, and of ours; with say it is all taken back', async () => {
    await network.close()
    network = await open('open', true)
    await network.reconcile(expected(one))
    nft(dropping)
    await rulesAre(/oifname "bt1" accept comment "berth-foreign"/, true)
    await published()
    await blocks(0)
    nft(
      'flush chain ip filter FORWARD; add chain ip filter DOCKER-USER; insert rule ip filter FORWARD jump DOCKER-USER',
    )
    await rulesAre(/chain DOCKER-USER \{[^}]*iifname "bt1" accept comment/, true)
    nft('add rule ip filter FORWARD ct state established,related accept')
    await published()
    network.ensureBridge(bridgeNumber(2))
    await rulesAre(/oifname "bt2" accept comment "berth-foreign"/, true)
    network.removeBridge(bridgeNumber(2))
    await rulesAre(/bt2/, false)
    await rulesAre(/bt1/, true)
    await network.close()
    network = await open('open', true)
    await network.reconcile(expected(one))
    await published()
    await network.close()
    network = await open('open')
    await network.reconcile(expected(one))
    await rulesAre(/bt1/, false)
    await hears(/chain FORWARD of the host's table ip filter stops/)
    assert.equal(await other.askInVain('203.0.113.1', 8080), 'no answer')
    nft('delete table ip filter')
    await published()
  })
}

if (onStage) describe('rules of others', suite)
else {
  test('rules of others, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
