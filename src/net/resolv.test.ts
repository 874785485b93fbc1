import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildHosts, selfNames } from './hosts.ts'
import {
  buildResolvConf,
  parseResolvConf,
  reachableServers,
  upstreamServers,
  usesResolvedStub,
} from './resolv.ts'

const asked = { servers: [], search: [], options: [] }
const lines = (text: string): string[] =>
  text.split('\n').filter(line => line !== '' && !line.startsWith('#'))

test("the host's servers, search and options are taken over", () => {
  const host =
    '# x\nnameserver 192.0.2.1 ; why\nnameserver  192.0.2.2\ndomain old\nsearch a.example b.example\noptions ndots:2\noptions timeout:1\n'
  assert.deepEqual(lines(buildResolvConf(host, asked)), [
    'nameserver 192.0.2.1',
    'nameserver 192.0.2.2',
    'search a.example b.example',
    'options ndots:2 timeout:1',
  ])
})

test('what a container cannot reach is left out; nothing left means the fallback', () => {
  assert.deepEqual(reachableServers(['127.0.0.1', '192.0.2.1', '::1', 'fe80::1%eth0', '2001:db8::1']), [
    '192.0.2.1',
  ])
  assert.deepEqual(reachableServers(['127.0.0.53']), ['8.8.8.8', '8.8.4.4'])
  assert.deepEqual(lines(buildResolvConf('', asked)), ['nameserver 8.8.8.8', 'nameserver 8.8.4.4'])
})

test("systemd-resolved's stub is known where it is alone", () => {
  assert.equal(usesResolvedStub('nameserver 127.0.0.53\noptions edns0\n'), true)
  assert.equal(usesResolvedStub('nameserver 127.0.0.53\nnameserver 192.0.2.1\n'), false)
  assert.equal(usesResolvedStub(''), false)
})

test('what was asked for comes before the host, loopback too; a dot means no search', () => {
  const host = 'nameserver 192.0.2.1\nsearch a.example\noptions ndots:2\n'
  const text = buildResolvConf(host, { servers: ['127.0.0.1'], search: ['.'], options: ['rotate'] })
  assert.deepEqual(lines(text), ['nameserver 127.0.0.1', 'options rotate'])
  assert.deepEqual(parseResolvConf(text), { servers: ['127.0.0.1'], search: [], options: ['rotate'] })
})

test('the hosts file has the container, what was added, and IPv6 names only with IPv6', () => {
  const self = { addresses: ['172.17.0.2'], names: selfNames('web', 'example.org') }
  const extra = [{ name: 'db', address: '192.0.2.5' }]
  assert.equal(
    buildHosts({ self, extra, ipv6: false }),
    '127.0.0.1\tlocalhost\n192.0.2.5\tdb\n172.17.0.2\tweb.example.org web\n',
  )
  assert.match(buildHosts({ self, extra, ipv6: true }), /^::1\tlocalhost ip6-localhost ip6-loopback$/m)
  assert.deepEqual(selfNames('web', ''), ['web'])
})

test('servers of IPv6 are for containers that have it, and those of a link for none', () => {
  const host = ['fd00::53', 'fe80::1%eth0', '::1', '10.0.0.53']
  assert.deepEqual(reachableServers(host, true), ['fd00::53', '10.0.0.53'])
  assert.deepEqual(reachableServers(host), ['10.0.0.53'])
  const text = host.map(server => `nameserver ${server}`).join('\n')
  assert.deepEqual(upstreamServers(text, []), ['fd00::53', '::1', '10.0.0.53'])
})
