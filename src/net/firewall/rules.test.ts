import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GatewayMode, ordinaryBridge } from '../types.ts'
import { addElements, bridgeElements, deleteElements, endpointElements } from './elements.ts'
import { compareElements, readElements } from './listing.ts'
import { type RuleSettings, rulesBatch } from './rules.ts'

const endpoint = {
  containerId: 'c1',
  networkId: 'n1',
  hostLink: 'veth1',
  interfaceName: 'eth0',
  ipv4: '172.17.0.2',
  mac: '02:42:ac:11:00:02',
  published: [
    { protocol: 'tcp' as const, containerPort: 80, hostIp: '0.0.0.0', hostPort: 8080 },
    { protocol: 'udp' as const, containerPort: 53, hostIp: '127.0.0.1', hostPort: 5353 },
  ],
}

const bridge = {
  networkId: 'n1',
  link: 'berth0',
  subnet: { address: '172.17.0.0', prefix: 16 },
  gateway: '172.17.0.1',
  mtu: 1500,
  ...ordinaryBridge,
  masquerade: false,
}

const open = { asks: false, direct: false, ipv6: true }
const asking = { ask: 'ask1', back: 'back1', mark: 7 }
const settings: RuleSettings = { table: 'berth', dropForeign: [4], ipv6: true, asking: undefined }

test('publishing adds one element a port, with its owner', () => {
  assert.deepEqual(addElements('berth', endpointElements(endpoint, open)).split('\n'), [
    'add element inet berth selves { 172.17.0.2 . 172.17.0.2 comment "c1" }',
    'add element inet berth published_any { tcp . 8080 comment "c1" : 172.17.0.2 . 80 }',
    'add element inet berth published { 127.0.0.1 . udp . 5353 comment "c1" : 172.17.0.2 . 53 }',
  ])
  assert.match(deleteElements('berth', endpointElements(endpoint, open)), /published_any \{ tcp \. 8080 \}/)
  assert.deepEqual(endpointElements({ ...endpoint, published: [] }, open), [])
})

test('an endpoint with both families has elements of both, each in sets of its own', () => {
  const published = [
    { protocol: 'tcp' as const, containerPort: 80, hostIp: '0.0.0.0', hostPort: 8080 },
    { protocol: 'tcp' as const, containerPort: 80, hostIp: '::', hostPort: 8080 },
    { protocol: 'tcp' as const, containerPort: 80, hostIp: '2001:db8::1', hostPort: 81 },
  ]
  const dual = { ...endpoint, ipv6: 'fd00::2', published }
  const batch = addElements('berth', endpointElements(dual, open)).split('\n')
  assert.deepEqual(batch.slice(2), [
    'add element inet berth selves6 { fd00::2 . fd00::2 comment "c1" }',
    'add element inet berth published_any6 { tcp . 8080 comment "c1" : fd00::2 . 80 }',
    'add element inet berth published6 { 2001:db8::1 . tcp . 81 comment "c1" : fd00::2 . 80 }',
  ])
  const ipv4 = addElements('berth', endpointElements(dual, { ...open, ipv6: false }))
  assert.deepEqual(ipv4.split('\n'), batch.slice(0, 2), 'none without rules for IPv6')
  const exit = { subnet: { address: 'fd00::', prefix: 64 }, gateway: 'fd00::1', sourceAddress: '' }
  const sets = (gatewayMode: GatewayMode, sourceAddress = ''): string[] =>
    bridgeElements({ ...bridge, masquerade: true, ipv6: { ...exit, gatewayMode, sourceAddress } }, open)
      .filter(({ set }) => set.endsWith('6'))
      .map(({ set, value }) => `${set} ${value}`.trim())
  assert.deepEqual(sets('nat'), ['outgoing6'])
  assert.deepEqual(sets('nat', '2001:db8::9'), ['sourced6 2001:db8::9'])
  assert.deepEqual(sets('routed'), ['routed6'])
  assert.deepEqual(sets('nat-unprotected'), ['outgoing6', 'open6'])
})

test('no rule depends on the number of bridges or ports, and only what stays small holds intervals', () => {
  const rules = rulesBatch(settings)
  assert.doesNotMatch(rules, /berth0|172\.|ip berth/)
  assert.deepEqual(
    [...rules.matchAll(/(\w+) \{ type [^}]*flags interval/g)].map(([, name]) => name),
    [
      'within',
      ...['direct_ranges', 'published_ranges', 'published_any_ranges'],
      ...['direct_ranges6', 'published_ranges6', 'published_any_ranges6'],
    ],
  )
  assert.notEqual(rules, rulesBatch({ ...settings, dropForeign: [] }))
  assert.notEqual(rules, rulesBatch({ ...settings, ipv6: false }))
  assert.notEqual(rules, rulesBatch({ ...settings, asking }))
})

test('elements read back from JSON equal those that were written', () => {
  const expected = [...bridgeElements(bridge, open), ...endpointElements(endpoint, open)]
  const named = (name: string, elem: unknown[], type: string | string[] = 'ipv4_addr') => ({
    ...{ family: 'inet', name, table: 'berth' },
    ...{ elem, type },
  })
  const json = [
    { set: named('bridges', [{ elem: { val: 'berth0', comment: 'n1' } }], 'ifname') },
    {
      set: named(
        'inside',
        [{ elem: { val: { concat: ['berth0', 'berth0'] }, comment: 'n1' } }],
        ['ifname', 'ifname'],
      ),
    },
    { set: named('selves', [{ elem: { val: { concat: ['172.17.0.2', '172.17.0.2'] }, comment: 'c1' } }]) },
    {
      map: named('published_any', [
        [{ elem: { val: { concat: ['tcp', 8080] }, comment: 'c1' } }, { concat: ['172.17.0.2', 80] }],
      ]),
    },
    {
      map: named('published', [
        [
          { elem: { val: { concat: ['127.0.0.1', 'udp', 5353] }, comment: 'c1' } },
          { concat: ['172.17.0.2', 53] },
        ],
      ]),
    },
    { chain: { name: 'pass' } },
  ]
  assert.deepEqual(compareElements(expected, readElements(json)), { missing: [], extra: [] })
  const [first, ...rest] = readElements(json)
  assert.deepEqual(compareElements(expected, rest).missing, [first])
  assert.deepEqual(compareElements(rest, readElements(json)).extra, [first])
})

const many = (count: number, more: { hostPort?: number; containerPort?: number } = {}) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ protocol: 'tcp' as const, hostIp: '0.0.0.0' },
    hostPort: (more.hostPort ?? 20_000) + i,
    containerPort: (more.containerPort ?? 20_000) + i,
  }))

test('a long run of ports that go to the same ports is one element, any other a port each', () => {
  const keys = (published: ReturnType<typeof many>) =>
    endpointElements({ ...endpoint, published }, open)
      .filter(({ set }) => set !== 'selves')
      .map(({ set, key, value }) => `${set} ${key} ${value}`)
  assert.deepEqual(keys(many(10_000)), ['published_any_ranges tcp . 20000-29999 172.17.0.2'])
  assert.equal(keys(many(31)).length, 31)
  assert.equal(keys(many(100, { containerPort: 1000 })).length, 100)
  const gap = many(100).filter(({ hostPort }) => hostPort !== 20_050)
  assert.deepEqual(keys(gap.toReversed()), [
    'published_any_ranges tcp . 20000-20049 172.17.0.2',
    'published_any_ranges tcp . 20051-20099 172.17.0.2',
  ])
})

test("in mode host what others may ask is asked of the host's rules, by the same keys, in one transaction", () => {
  const published = [...endpoint.published, ...many(40)]
  const batch = addElements('berth', endpointElements({ ...endpoint, published }, { ...open, asks: true }))
  assert.match(batch, /^add element ip berth asked_any_ranges \{ tcp \. 20000-20039 comment "c1" \}$/m)
  assert.match(batch, /^add element ip berth asked_any \{ tcp \. 8080 comment "c1" \}$/m)
  assert.doesNotMatch(batch, /asked \{/)
})

test('ranges and subnets are read back as they were written', () => {
  const elem = (val: unknown, data?: string) => {
    const element = { elem: { val, comment: 'c' } }
    return data === undefined ? element : [element, data]
  }
  const range = { concat: ['tcp', { range: [20000, 29999] }] }
  const subnet = { concat: [{ prefix: { addr: '172.17.0.0', len: 16 } }, 'berth0'] }
  const read = readElements([
    {
      map: { name: 'published_any_ranges', type: ['inet_proto', 'inet_service'], elem: [elem(range, '::')] },
    },
    { set: { name: 'within', type: ['ipv4_addr', 'ifname'], elem: [elem(subnet)] } },
  ])
  assert.deepEqual(
    read.map(({ key }) => key),
    ['tcp . 20000-29999', '172.17.0.0/16 . "berth0"'],
  )
})
