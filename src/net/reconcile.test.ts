import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Link } from '../linux/rtnetlink.ts'
import { aliasOf } from './owner.ts'
import { planReconcile } from './reconcile.ts'
import { type BridgeSpec, type Endpoint, ordinaryBridge } from './types.ts'

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  index,
  name,
  kind: 'veth',
  up: true,
  mtu: 1500,
  mac: '',
  master: 0,
  group: 0,
  alias: '',
  stats: undefined,
  ...more,
})

const bridge: BridgeSpec = {
  networkId: 'n1',
  link: 'berth0',
  subnet: { address: '172.17.0.0', prefix: 16 },
  gateway: '172.17.0.1',
  mtu: 1500,
  ...ordinaryBridge,
}

const endpoint = (containerId: string, hostLink: string): Endpoint => ({
  containerId,
  networkId: 'n1',
  hostLink,
  interfaceName: 'eth0',
  ipv4: '172.17.0.2',
  mac: '',
  published: [],
})

const endpointAlias = (table: string, containerId: string) =>
  aliasOf(table, { kind: 'endpoint', containerId, networkId: 'n1' })
const bridgeAlias = (table: string) => aliasOf(table, { kind: 'bridge', networkId: 'n1' })

test('what is right is left alone, what is not ours is not seen', () => {
  const links = [
    link(1, 'docker0', { kind: 'bridge' }),
    link(2, 'berth0', { kind: 'bridge', alias: bridgeAlias('berth') }),
    link(3, 'veth1', { master: 2, alias: endpointAlias('berth', 'c1') }),
    link(4, 'veth9', { master: 9, alias: endpointAlias('berth-12345678', 'c9') }),
    link(5, 'br-x', { kind: 'bridge', alias: bridgeAlias('berth-12345678') }),
  ]
  const expected = { bridges: [bridge], endpoints: [endpoint('c1', 'veth1')], sandboxes: ['c1'] }
  assert.deepEqual(planReconcile('berth', expected, { links, sandboxes: ['c1'] }), {
    endBridges: [],
    endLinks: [],
    endedFor: [],
    endSandboxes: [],
    reattach: [],
    rewire: [],
    lost: [],
  })
})

test("what is ours and nobody's ends; what is missing is made again or lost", () => {
  const links = [
    link(2, 'berth0', { kind: 'bridge', alias: bridgeAlias('berth') }),
    link(3, 'br-old', { kind: 'bridge', alias: bridgeAlias('berth') }),
    link(4, 'veth-old', { master: 3, alias: endpointAlias('berth', 'c7') }),
    link(5, 'veth1', { alias: endpointAlias('berth', 'c1') }),
  ]
  const endpoints = [endpoint('c1', 'veth1'), endpoint('c2', 'veth2'), endpoint('c3', 'veth3')]
  const expected = { bridges: [bridge], endpoints, sandboxes: ['c1', 'c2', 'c3'] }
  const plan = planReconcile('berth', expected, { links, sandboxes: ['c1', 'c2', 'c7'] })
  assert.deepEqual(plan, {
    endBridges: ['br-old'],
    endLinks: ['veth-old'],
    endedFor: ['c7'],
    endSandboxes: ['c7'],
    reattach: [endpoints[0]],
    rewire: [endpoints[1]],
    lost: [endpoints[2]],
  })
})
