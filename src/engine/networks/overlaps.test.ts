import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BridgeSpec, ordinaryBridge } from '../../net/types.ts'
import { overlapsOf } from './overlaps.ts'

const bridge: BridgeSpec = {
  ...ordinaryBridge,
  ...{ networkId: 'n', link: 'br-n', gateway: '172.18.0.1', mtu: 1500 },
  subnet: { address: '172.18.0.0', prefix: 16 },
}
const networks = [{ name: 'host' }, { name: 'own', bridge }]

test('a route of the host that covers, or is within, a network’s subnet is told', () => {
  const [text, ...more] = overlapsOf(networks, [
    { address: '172.16.0.0', prefix: 12, link: 'tun0' },
    { address: '172.19.0.0', prefix: 16, link: 'tun0' },
  ])
  assert.match(
    text ?? '',
    /^network own \(172\.18\.0\.0\/16\) overlaps with the host's route to 172\.16\.0\.0\/12 by tun0/,
  )
  assert.deepEqual(more, [])
  assert.equal(overlapsOf(networks, [{ address: '172.18.4.0', prefix: 24, link: 'tun0' }]).length, 1)
})

test('neither the network’s own route nor the default route is told', () => {
  assert.deepEqual(
    overlapsOf(networks, [
      { address: '172.18.0.0', prefix: 16, link: 'br-n' },
      { address: '0.0.0.0', prefix: 0, link: 'eth0' },
    ]),
    [],
  )
})
