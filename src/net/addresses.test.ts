import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AddressPool, macOfAddress, parseMac, randomMac } from './addresses.ts'
import {
  chooseSubnet,
  contains,
  defaultPools,
  formatAddress,
  networkOf,
  overlaps,
  parseAddress,
  parseCidr,
} from './subnets.ts'

const address = fc.integer({ min: 0, max: 0xffffffff }).map(value => formatAddress(BigInt(value), 4))
const address6 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map(value => formatAddress(value, 6))
const subnet = fc.record({ address, prefix: fc.integer({ min: 1, max: 32 }) }).map(networkOf)

test('addresses read back as they are written', () => {
  fc.assert(fc.property(address, text => assert.equal(formatAddress(parseAddress(text), 4), text)))
  fc.assert(fc.property(address6, text => assert.equal(formatAddress(parseAddress(text), 6), text)))
  const forms = [
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['::', '::'],
    ['::1.2.3.4', '::102:304'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['0:0:0:1::', '0:0:0:1::'],
  ] as const
  for (const [given, wanted] of forms) assert.equal(formatAddress(parseAddress(given), 6), wanted, given)
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.04',
    '1.2.3.4.5',
    'a.b.c.d',
    '1.2.3.-4',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
    '12345::',
  ]) {
    assert.throws(() => parseAddress(text), { code: 'bad-request' }, text)
  }
  assert.deepEqual(parseCidr('172.17.0.1/16'), { address: '172.17.0.1', prefix: 16 })
  assert.deepEqual(parseCidr('FD00::1/64'), { address: 'fd00::1', prefix: 64 })
  for (const text of ['172.17.0.1', '172.17.0.1/33', 'fd00::/129', '172.17.0.1/16/2', '172.17.0.1/']) {
    assert.throws(() => parseCidr(text), { code: 'bad-request' }, text)
  }
})

test('a pool never gives out one address twice, nor one outside, reserved, or at the ends', () => {
  const step = fc.oneof(fc.constant('allocate' as const), fc.nat(40))
  fc.assert(
    fc.property(fc.integer({ min: 26, max: 30 }), fc.array(step, { maxLength: 200 }), (prefix, steps) => {
      const net = { address: '10.1.2.0', prefix }
      const pool = new AddressPool({ subnet: net, reserved: ['10.1.2.1'] })
      const held: string[] = []
      const room = 2 ** (32 - prefix) - 3
      for (const next of steps) {
        if (next === 'allocate' && held.length === room) {
          assert.throws(() => pool.allocate(), { code: 'unavailable' })
        } else if (next === 'allocate') {
          const given = pool.allocate()
          assert.ok(contains(net, given) && !held.includes(given))
          assert.ok(
            !['10.1.2.0', '10.1.2.1', formatAddress(parseAddress('10.1.2.0') + BigInt(room + 2), 4)].includes(
              given,
            ),
          )
          held.push(given)
        } else {
          const [freed] = held.splice(next, 1)
          if (freed) pool.release(freed)
        }
        assert.equal(pool.used, held.length)
      }
    }),
  )
})

test('a freed address comes back last', () => {
  const pool = new AddressPool({ subnet: { address: '10.0.0.0', prefix: 29 }, reserved: ['10.0.0.1'] })
  assert.equal(pool.allocate(), '10.0.0.2')
  pool.release('10.0.0.2')
  const rest = [1, 2, 3, 4, 5].map(() => pool.allocate())
  assert.deepEqual(rest, ['10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.2'])
})

test('a pool of IPv6 gives addresses from its first on, and reserves no last one', () => {
  const net = { address: 'fd00:1::', prefix: 64 }
  const pool = new AddressPool({ subnet: net, reserved: ['fd00:1::1'] })
  assert.deepEqual([pool.allocate(), pool.allocate()], ['fd00:1::2', 'fd00:1::3'])
  pool.claim('fd00:1::ffff:ffff:ffff:ffff')
  assert.throws(() => pool.claim('FD00:1:0::3'), { code: 'conflict' }, 'in whichever form')
  assert.throws(() => pool.claim('fd00:2::1'), { code: 'bad-request' })
  assert.throws(() => pool.claim('10.0.0.1'), { code: 'bad-request' })
  assert.equal(pool.available, Number.MAX_SAFE_INTEGER)
  const small = new AddressPool({ subnet: { address: 'fd00::8', prefix: 126 }, reserved: ['fd00::9'] })
  assert.deepEqual([small.allocate(), small.allocate()], ['fd00::a', 'fd00::b'])
  assert.throws(() => small.allocate(), /no available IPv6 addresses/)
})

test('a given address is claimed once, within the subnet, also outside the range', () => {
  const pool = new AddressPool({
    subnet: { address: '10.0.0.0', prefix: 16 },
    range: { address: '10.0.5.0', prefix: 24 },
  })
  assert.equal(pool.allocate(), '10.0.5.0')
  pool.claim('10.0.9.9')
  assert.throws(() => pool.claim('10.0.9.9'), { code: 'conflict' })
  assert.throws(() => pool.claim('10.1.0.1'), { code: 'bad-request' })
  pool.adopt('10.0.5.7')
  assert.equal(pool.allocate(), '10.0.5.8')
})

test('a new subnet overlaps nothing that is taken', () => {
  fc.assert(
    fc.property(fc.array(subnet, { maxLength: 12 }), taken => {
      try {
        const chosen = chooseSubnet(defaultPools, taken)
        assert.ok(!taken.some(other => overlaps(other, chosen)))
      } catch (error) {
        assert.match(String(error), /fully subnetted/)
        const bases = defaultPools.map(({ base }) => base)
        assert.ok(bases.every(base => taken.some(other => overlaps(other, base))))
      }
    }),
  )
})

test("the default pools give Docker's subnets in Docker's order, 31 of them", () => {
  const taken = [{ address: '0.0.0.0', prefix: 0 }]
  const given: string[] = []
  for (let i = 0; i < 31; i++) {
    const chosen = chooseSubnet(defaultPools, taken)
    taken.push(chosen)
    given.push(`${chosen.address}/${chosen.prefix}`)
  }
  assert.deepEqual(given.slice(0, 2), ['172.17.0.0/16', '172.18.0.0/16'])
  assert.deepEqual(given.slice(14, 17), ['172.31.0.0/16', '192.168.0.0/20', '192.168.16.0/20'])
  assert.equal(given.at(-1), '192.168.240.0/20')
  assert.throws(() => chooseSubnet(defaultPools, taken), { code: 'unavailable' })
})

test('MAC addresses are unicast and locally administered', () => {
  assert.equal(macOfAddress('172.17.0.2'), '02:42:ac:11:00:02')
  for (let i = 0; i < 50; i++) {
    const mac = randomMac()
    assert.equal(Number.parseInt(mac.slice(0, 2), 16) & 3, 2)
    assert.equal(parseMac(mac.toUpperCase().replaceAll(':', '-')), mac)
  }
  assert.throws(() => parseMac('01:00:5e:00:00:01'), { code: 'bad-request' })
  assert.throws(() => parseMac('02:42:ac:11:00'), { code: 'bad-request' })
})
