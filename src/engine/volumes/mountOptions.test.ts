import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BerthError } from '../../core/errors.ts'
import { checkOptions } from './driverOptions.ts'
import { boundOptions, describeMount, machineOf, mountArguments, withoutSecrets } from './mountOptions.ts'

test('words of fstab become flags, the last of two that contradict each other counts, the rest is data', () => {
  const call = (o: string) => mountArguments({ type: 't', device: 'd', o })
  assert.deepEqual(call('ro,size=1m,nosuid'), { source: 'd', type: 't', flags: 3, data: 'size=1m' })
  assert.deepEqual(call('ro,rw,defaults'), { source: 'd', type: 't', flags: 0, data: '' })
  assert.equal(call('rbind,rslave').flags, 4096 | 16384 | (1 << 19))
  assert.deepEqual(mountArguments({ type: 't', device: 'd' }).data, '')
  assert.deepEqual(call('constructor'), { source: 'd', type: 't', flags: 0, data: 'constructor' })
})

test('flags of the mount hold for what is bound from it', () => {
  assert.deepEqual(boundOptions({ o: 'bind,ro,nosuid,size=1m,noexec,exec' }), ['ro', 'nosuid'])
  assert.deepEqual(boundOptions({}), [])
})

test('a failed mount is told with its options, passwords left out', () => {
  const call = mountArguments({ type: 'cifs', device: '//h/s', o: 'ro,username=u,password=a=b,vers=3.0' })
  assert.equal(
    describeMount(call, '/v/_data'),
    'mount //h/s:/v/_data, flags: 0x1, data: username=u,password=********,vers=3.0',
  )
  assert.equal(withoutSecrets('password=x'), 'password=********')
  assert.equal(withoutSecrets('nopassword=x,uid=1'), 'nopassword=x,uid=1')
})

test('the machine of a network file system is found where Docker looks for it', () => {
  const machine = (type: string, device: string, o: string) => machineOf(mountArguments({ type, device, o }))
  assert.equal(machine('nfs', ':/e', 'addr=10.0.0.1,rw'), undefined)
  assert.equal(machine('nfs', ':/e', 'rw,addr=server,vers=4')?.at('10.0.0.2').data, 'addr=10.0.0.2,vers=4')
  assert.equal(machine('nfs', 'server:/e', 'rw'), undefined)
  assert.equal(machine('cifs', '//server/share', '')?.at('10.0.0.3').source, '//10.0.0.3/share')
  assert.equal(machine('cifs', '//10.0.0.3/share', ''), undefined)
  assert.equal(machine('ext4', '/dev/x', 'addr=server'), undefined)
})

test('options of the driver are checked in Docker’s words', () => {
  const words = (options: Record<string, string>, canLimit = false): string => {
    try {
      checkOptions(options, canLimit)
      return ''
    } catch (error) {
      assert.ok(error instanceof BerthError)
      return error.message
    }
  }
  assert.equal(words({}), '')
  assert.equal(words({ type: 'tmpfs', device: 'tmpfs', o: 'size=1m' }), '')
  assert.equal(words({ x: '' }), 'invalid option: "x"')
  assert.equal(words({ type: 'tmpfs' }), 'missing required option: "device"')
  assert.equal(words({ device: '/x' }), 'missing required option: "type"')
  assert.equal(words({ o: 'ro', type: 'none' }), 'missing required option: "device"')
  assert.equal(words({ size: '1G' }), 'quota size requested but no quota support')
  assert.equal(words({ size: '1G' }, true), '')
  assert.equal(words({ size: '0' }), '')
  assert.equal(words({ size: 'much' }), "invalid size: 'much'")
  assert.match(words({ type: 'cifs', device: '//h:445/s' }), /^port not allowed in CIFS device URL/)
  assert.equal(words({ type: 'cifs', device: '//h/s' }), '')
})
