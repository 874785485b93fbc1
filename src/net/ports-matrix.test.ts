import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Network } from './network.ts'
import {
  bridgeNumber,
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
import type { Protocol } from './types.ts'

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

/** Whose own address the server sees; what the host or a neighbour sends is translated on its way. */
const seen: Partial<Record<Asker, string>> = { other: '203.0.113.2', stranger: '172.30.2.2' }

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

const nameOf = ({ asker, address, hostIp, hostPort, protocol }: Case): string =>
  `${asker} by ${address}:${hostPort}/${protocol} of ${hostIp}`

const bridgeSysctl = '/proc/sys/net/bridge/bridge-nf-call-iptables'

const suite = () => {
  const [one, two] = [bridgeNumber(1), bridgeNumber(2)]
  const peers = new Map<Asker, Peer>()
  let stage: Stage
  let network: Network

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
    stage = await setStage()
    network = await Network.open({
      execRoot: stage.execRoot,
      firewall: { table, enabled: true },
      ipForward: true,
      keeper: new MemoryKeeper(),
    })
    await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
    for (const bridge of [one, two]) network.ensureBridge(bridge)
    const sandboxes = ['web', 'neighbour', 'stranger'].map(id => network.createSandbox(id))
    const ports = publications.map(({ hostPort, ...rest }) => port(hostPort, 80, rest))
    await network.connect(endpointSpec('web', one, { ipv4: '172.30.1.2', ports }))
    await network.connect(endpointSpec('neighbour', one, { ipv4: '172.30.1.3' }))
    await network.connect(endpointSpec('stranger', two, { ipv4: '172.30.2.2' }))
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
    await check(() => false)
    network.ensureBridge(one)
  })
}

if (onStage) describe('published ports', suite)
else {
  test('published ports by real packets, in a network namespace that plays the host', () =>
    runOnStage(fileURLToPath(import.meta.url)))
}
