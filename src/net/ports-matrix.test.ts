import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Network } from './network.ts'
import {
  bridgeNumber,
  endpointSpec,
  inside,
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
import type { Endpoint, FirewallMode, Protocol } from './types.ts'

/** Who reaches which published port by which address: everyone, everywhere, by both protocols. */

const table = 'berth-matrix'
const protocols = ['tcp', 'udp'] as const
const hostAddresses = ['203.0.113.1', '198.18.0.1', '172.30.1.1', '172.30.2.1']

interface Publication {
  protocol: Protocol
  hostIp: string
  hostPort: number
}

const publications: Publication[] = protocols.flatMap(protocol =>
  ['0.0.0.0', '203.0.113.1', '127.0.0.1', '198.18.0.1'].map((hostIp, i) => ({
    ...{ protocol, hostIp },
    hostPort: 8000 + i,
  })),
)

/** Addresses by which each of them may try; another machine's own loopback leads nowhere. */
const askers = {
  other: ['203.0.113.1', '198.18.0.1'],
  host: ['127.0.0.1', ...hostAddresses],
  neighbour: ['203.0.113.1', '198.18.0.1', '172.30.1.1'],
  stranger: ['203.0.113.1', '198.18.0.1', '172.30.2.1'],
  web: ['203.0.113.1', '198.18.0.1', '172.30.1.1'],
}
type Asker = keyof typeof askers

/** Whose own address the server sees; what the host or containers send is translated on its way, as by Docker. */
const seen: Partial<Record<Asker, string>> = { other: '203.0.113.2', stranger: '172.30.1.1' }

interface Case extends Publication {
  asker: Asker
  address: string
}

const cases: Case[] = publications.flatMap(publication =>
  Object.entries(askers).flatMap(([asker, addresses]) =>
    addresses.map(address => ({ ...publication, asker: asker as Asker, address })),
  ),
)

/** The rule: a port is there on its address, one on 0.0.0.0 on all; who may ask there at all does not matter. */
const isThere = ({ hostIp, address }: Case): boolean => hostIp === '0.0.0.0' || hostIp === address

/** What the host's own rules let reach a server of the host's. */
const passesInput = ({ asker, hostPort, protocol }: Case): boolean =>
  asker === 'host' || (asker === 'other' && hostPort === 8000 && protocol === 'tcp')

/** As ufw makes them: what belongs to a flow, what the host sends itself, ssh, and one published port for one machine. */
const dropping = `
  add table inet owner
  add chain inet owner input { type filter hook input priority filter; policy drop; }
  add rule inet owner input ct state established,related accept
  add rule inet owner input iif lo accept
  add rule inet owner input tcp dport 22 accept
  add rule inet owner input ip saddr 203.0.113.2 tcp dport 8000 accept`

const nameOf = ({ asker, address, hostIp, hostPort, protocol }: Case): string =>
  `${asker} by ${address}:${hostPort}/${protocol} of ${hostIp}`

const bridgeSysctl = '/proc/sys/net/bridge/bridge-nf-call-iptables'

let stage: Stage

const suite = (mode: FirewallMode) => {
  const [one, two] = [bridgeNumber(1), bridgeNumber(2)]
  const peers = new Map<Asker, Peer>()
  let network: Network

  const keeper = new MemoryKeeper()
  const endpoints: Endpoint[] = []

  const open = (as: FirewallMode): Promise<Network> =>
    Network.open({
      execRoot: stage.execRoot,
      firewall: { table, enabled: true, mode: as },
      ipForward: true,
      keeper,
    })

  const peer = (name: Asker): Peer => {
    const found = peers.get(name)
    if (!found) throw new Error(`no peer ${name}`)
    return found
  }

  const answers = async (wanted: Case[], patience: number): Promise<Map<Case, string>> => {
    const found = wanted.map(async one => {
      const { asker, address, hostPort, protocol } = one
      return [one, await peer(asker).ask(address, hostPort, { protocol, patience })] as const
    })
    return new Map(await Promise.all(found))
  }

  /** Each case is as `expected` says; drops show only by silence, which is why they are asked with little patience. */
  const check = async (expected: (one: Case) => boolean): Promise<void> => {
    for (const [one, answer] of await answers(cases.filter(expected), 20_000)) {
      const from = seen[one.asker]
      if (from) assert.equal(answer, `web sees ${from}`, nameOf(one))
      else assert.match(answer, /^web sees /, nameOf(one))
    }
    const forbidden = cases.filter(one => !expected(one))
    for (const [one, answer] of await answers(forbidden, 400))
      assert.match(answer, /^(no answer|ECONNREFUSED)$/, nameOf(one))
  }

  before(async () => {
    stage ??= await setStage()
    network = await open(mode)
    await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    for (const bridge of [one, two]) network.ensureBridge(bridge)
    const sandboxes = ['web', 'neighbour', 'stranger'].map(id => network.createSandbox(id))
    const ports = publications.map(({ hostPort, ...rest }) => port(hostPort, 80, rest))
    for (const spec of [
      endpointSpec('web', one, { ipv4: '172.30.1.2', ports }),
      endpointSpec('neighbour', one, { ipv4: '172.30.1.3' }),
      endpointSpec('stranger', two, { ipv4: '172.30.2.2' }),
    ])
      endpoints.push(await network.connect(spec))
    peers.set('host', await Peer.start('host'))
    peers.set('other', await Peer.start('other', stage.other))
    for (const [i, name] of (['web', 'neighbour', 'stranger'] as const).entries())
      peers.set(name, await Peer.start(name, sandboxes[i]))
    for (const protocol of protocols) await peer('web').serve(80, { protocol })
  })

  after(async () => {
    for (const started of peers.values()) await started.stop()
    await network.removeAll()
    await network.close()
  })

  const withRules = async (rules: string, task: () => Promise<void>): Promise<void> => {
    nft(rules)
    try {
      await task()
    } finally {
      nft('delete table inet owner')
    }
  }

  test('every prohibition of the table has a counter-proof in it: the same asker, another address', () => {
    for (const asker of Object.keys(askers))
      for (const protocol of protocols) {
        const own = cases.filter(one => one.asker === asker && one.protocol === protocol)
        assert.ok(own.some(isThere) && !own.every(isThere))
      }
  })

  const bridged = fs.existsSync(bridgeSysctl) ? ['0', '1'] : ['']
  for (const value of bridged) {
    const how = { '0': 'bridged packets past the rules', '1': 'bridged packets by the rules', '': '' }[value]
    test(`each reaches what is published on the address it asks by, and nothing else ${how}`, async () => {
      if (value !== '') fs.writeFileSync(bridgeSysctl, value)
      await check(isThere)
    })
  }

  test('without the translation nobody reaches anything', async () => {
    nft(`flush chain inet ${table} publish`)
    try {
      await check(() => false)
    } finally {
      network.ensureBridge(one)
    }
  })

  test('a first datagram larger than any packet arrives whole', async () => {
    const sizes = { protocol: 'udp', size: 9000 } as const
    assert.equal(await peer('other').ask('203.0.113.1', 8000, sizes), 'web sees 203.0.113.2')
    // A copy of what br_netfilter has put together cannot be taken apart again.
    if (mode === 'host' && fs.existsSync(bridgeSysctl)) fs.writeFileSync(bridgeSysctl, '0')
    assert.equal(await peer('stranger').ask('203.0.113.1', 8000, sizes), 'web sees 172.30.1.1')
  })

  if (mode === 'open') {
    test("the host's INPUT says nothing of published ports", () => withRules(dropping, () => check(isThere)))
    return
  }

  test("published ports obey the host's INPUT, and are there again when it says nothing more", async () => {
    await withRules(dropping, () => check(one => isThere(one) && passesInput(one)))
    await check(isThere)
  })

  test('a source that a strict rp_filter would hold against the way round is let pass', async () => {
    fs.writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '1')
    try {
      await check(isThere)
    } finally {
      fs.writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '0')
    }
  })

  test('what the host rejects is rejected, and an end of one rule is no end of the flow', async () => {
    await peer('other').order({ do: 'open', host: '203.0.113.1', port: 8000 })
    const rejecting = `${dropping}
      insert rule inet owner input tcp dport 8000 reject with tcp reset`
    await withRules(rejecting, async () => {
      assert.equal(await peer('other').ask('203.0.113.1', 8000), 'ECONNREFUSED')
      assert.equal(await peer('other').order({ do: 'say', text: 'still here' }), 'still here')
    })
  })

  test("iptables' rules of before nftables are asked, too", async t => {
    const iptables = (text: string) => spawnSync('iptables-legacy', text.split(' ')).status === 0
    if (!iptables('-P INPUT DROP')) return t.skip('this host has no iptables-legacy')
    try {
      iptables('-A INPUT -i lo -j ACCEPT')
      iptables('-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT')
      await check(one => isThere(one) && one.asker === 'host')
      iptables('-A INPUT -i wan0 -m conntrack --ctstate NEW -j ACCEPT')
      await check(one => isThere(one) && ['host', 'other'].includes(one.asker))
    } finally {
      iptables('-F INPUT')
      iptables('-P INPUT ACCEPT')
    }
  })

  test('from an internal network nothing published is reached, until its bridge is internal no more', async () => {
    const three = { ...bridgeNumber(3), internal: true }
    network.ensureBridge(three)
    const sandbox = network.createSandbox('inner')
    await network.connect(endpointSpec('inner', three, { ipv4: '172.30.3.2' }))
    const inner = await Peer.start('inner', sandbox)
    assert.equal(await inner.ask('172.30.3.1', 8000), 'ECONNREFUSED')
    nft(`delete element ip ${table} unasked { bt3 }; delete element inet ${table} internal { bt3 }`)
    assert.match(await inner.ask('172.30.3.1', 8000), /^web sees /)
    await inner.stop()
  })

  test('the mode may change with a start: no packet goes round any more, and nothing of it is left', async () => {
    await network.close()
    network = await open('open')
    await network.reconcile({ bridges: [one, two], endpoints, sandboxes: ['web', 'neighbour', 'stranger'] })
    assert.doesNotMatch(links().join(), /ask|back/)
    assert.doesNotMatch(nft('list tables'), /ip berth/)
    assert.equal(inside('/proc/self/ns/net', 'ip', 'rule').split('\n').length, 4)
    await withRules(dropping, () => check(isThere))
    await network.close()
    network = await open('host')
    await network.reconcile({ bridges: [one, two], endpoints, sandboxes: ['web', 'neighbour', 'stranger'] })
    await withRules(dropping, () => check(one => isThere(one) && passesInput(one)))
  })
}

if (onStage) {
  describe('published ports, open', () => suite('open'))
  describe("published ports that obey the host's INPUT", () => suite('host'))
} else {
  test('published ports by real packets, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
