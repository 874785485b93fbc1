import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ordinaryBridge } from '../../net/types.ts'
import type { ContainerRecord, NetworkAttachment } from '../containers/types.ts'
import { NameIndex } from './nameIndex.ts'
import { containerNames, namesOf } from './names.ts'
import type { NetworkRecord } from './types.ts'

const attachment = (networkName: string, more: Partial<NetworkAttachment> = {}): NetworkAttachment => ({
  ...{ networkName, networkId: `id of ${networkName}`, endpointId: 'e', aliases: [], mac: '' },
  endpoint: {
    containerId: '',
    networkId: '',
    hostLink: '',
    interfaceName: '',
    ipv4: '',
    mac: '',
    published: [],
  },
  ...more,
})

const asker = (...networks: NetworkAttachment[]): ContainerRecord =>
  ({ id: 'a'.repeat(64), name: 'asker', config: {}, networks }) as unknown as ContainerRecord

const networkOf = (internal: boolean) => (): NetworkRecord => ({
  ...{ id: 'n', name: 'n', created: '', driver: 'bridge', options: {}, labels: {} },
  bridge: {
    ...{ ...ordinaryBridge, internal, networkId: 'n', link: 'l', gateway: '10.0.0.1', mtu: 1500 },
    subnet: { address: '10.0.0.0', prefix: 24 },
  },
})

const setUp = () => {
  const index = new NameIndex()
  index.put('id of front', { containerId: 'web1', addresses: ['10.0.0.2'], names: ['Web', 'shared', 'web1'] })
  index.put('id of front', { containerId: 'web2', addresses: ['10.0.0.3'], names: ['other', 'shared'] })
  index.put('id of back', { containerId: 'db', addresses: ['10.0.1.2'], names: ['db'] })
  const around = {
    index,
    network: networkOf(false),
    idOf: (reference: string) => (reference === 'web' ? 'web1' : undefined),
    upstreams: () => ['192.0.2.1', '10.0.0.53'],
  }
  return { index, around }
}

test('names are those of the asker’s own networks, whatever their case, also with the network’s name', () => {
  const { around } = setUp()
  const names = containerNames(asker(attachment('front')), around)
  assert.deepEqual(names.addresses('web'), ['10.0.0.2'])
  assert.deepEqual(names.addresses('web.front'), ['10.0.0.2'])
  assert.equal(names.addresses('db'), undefined)
  assert.equal(names.addresses('web.back'), undefined)
  assert.equal(names.nameOf('10.0.0.2'), 'web.front')
  assert.equal(names.nameOf('10.0.1.2'), undefined)
  const both = containerNames(asker(attachment('front'), attachment('back')), around)
  assert.deepEqual(both.addresses('db'), ['10.0.1.2'])
})

test('a name of several is answered with all, each first in its turn', () => {
  const { around } = setUp()
  const names = containerNames(asker(attachment('front')), around)
  const answers = [1, 2, 3, 4].map(() => names.addresses('shared') ?? [])
  assert.deepEqual(new Set(answers.map(([first]) => first)), new Set(['10.0.0.2', '10.0.0.3']))
  for (const answer of answers) assert.equal(answer.length, 2)
})

test('a link is a name for its container alone; who left, or goes by another name, is not found', () => {
  const { index, around } = setUp()
  const linking = containerNames(asker(attachment('front', { links: ['web:backend'] })), around)
  assert.deepEqual(linking.addresses('backend'), ['10.0.0.2'])
  assert.equal(containerNames(asker(attachment('front')), around).addresses('backend'), undefined)
  index.put('id of front', { containerId: 'web1', addresses: ['10.0.0.2'], names: ['renamed', 'web1'] })
  const names = containerNames(asker(attachment('front')), around)
  assert.equal(names.addresses('web'), undefined)
  assert.deepEqual(names.addresses('renamed'), ['10.0.0.2'])
  index.remove('id of front', 'web1')
  assert.equal(names.addresses('renamed'), undefined)
})

test('from internal networks only servers within them are asked', () => {
  const { around } = setUp()
  const open = containerNames(asker(attachment('front')), around)
  assert.deepEqual(open.upstreams(), ['192.0.2.1', '10.0.0.53'])
  const closed = containerNames(asker(attachment('front')), { ...around, network: networkOf(true) })
  assert.deepEqual(closed.upstreams(), ['10.0.0.53'])
})

test('a container’s names: its own, aliases, the short id, the host name; each once', () => {
  const record = {
    ...asker(),
    name: 'web',
    config: { Hostname: 'aaaaaaaaaaaa' },
  }
  assert.deepEqual(namesOf(record, attachment('front', { aliases: ['www', 'web'] })), [
    ...['web', 'www', 'aaaaaaaaaaaa'],
  ])
})
