import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ordinaryBridge } from '../types.ts'
import { compareElements, readElements } from './listing.ts'
import { addElements, bridgeElements, deleteElements, endpointElements, rulesBatch } from './rules.ts'

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

test('publishing adds one element a port, with its owner', () => {
  assert.deepEqual(addElements('inet berth', endpointElements(endpoint)).split('\n'), [
    'add element inet berth selves { 172.17.0.2 . 172.17.0.2 comment "c1" }',
    'add element inet berth published_any { tcp . 8080 comment "c1" : 172.17.0.2 . 80 }',
    'add element inet berth published { 127.0.0.1 . udp . 5353 comment "c1" : 172.17.0.2 . 53 }',
  ])
  assert.match(deleteElements('inet berth', endpointElements(endpoint)), /published_any \{ tcp \. 8080 \}/)
  assert.deepEqual(endpointElements({ ...endpoint, published: [] }), [])
})

test('no rule depends on the number of bridges or ports, and no set holds intervals', () => {
  const rules = rulesBatch('inet berth', true)
  assert.doesNotMatch(rules, /berth0|172\.|flags/)
  assert.notEqual(rules, rulesBatch('inet berth', false))
})

test('elements read back from JSON equal those that were written', () => {
  const expected = [...bridgeElements(bridge), ...endpointElements(endpoint)]
  const named = (name: string, elem: unknown[]) => ({ family: 'inet', name, table: 'berth', elem })
  const json = [
    { set: named('bridges', [{ elem: { val: 'berth0', comment: 'n1' } }]) },
    { set: named('inside', [{ elem: { val: { concat: ['berth0', 'berth0'] }, comment: 'n1' } }]) },
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
