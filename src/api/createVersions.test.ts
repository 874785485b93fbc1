import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRequest } from '../wire/container.ts'
import { ApiVersion } from '../wire/version.ts'
import { adaptCreate, adaptUpdate } from './createVersions.ts'

const adapt = (version: string, body: object) => {
  const request = createRequest(body, '')
  const warnings = adaptCreate(request, new ApiVersion(version))
  return { request, warnings }
}

test('fields that came later are not there for an older client', () => {
  const body = () => ({
    Healthcheck: { StartInterval: 5 },
    HostConfig: { Annotations: { a: 'b' }, ConsoleSize: [1, 2] },
  })
  const old = adapt('1.41', body()).request
  assert.deepEqual(
    [old.Healthcheck, old.HostConfig?.Annotations, old.HostConfig?.ConsoleSize],
    [{}, undefined, undefined],
  )
  assert.deepEqual(adapt('1.44', body()).request, body())
})

test('options on the wrong type of mount are refused from 1.42 on', () => {
  const body = () => ({
    HostConfig: { Mounts: [{ Type: 'tmpfs', Target: '/x', VolumeOptions: {}, TmpfsOptions: {} }] },
  })
  assert.deepEqual(adapt('1.41', body()).request.HostConfig?.Mounts, [
    { Type: 'tmpfs', Target: '/x', TmpfsOptions: {} },
  ])
  assert.throws(() => adapt('1.42', body()), /VolumeOptions must not be specified on mount type "tmpfs"/)
})

test('what an older version cannot ask for is refused with the version that can', () => {
  const mount = (more: object) => ({ HostConfig: { Mounts: [more] } })
  assert.throws(
    () => adapt('1.43', mount({ Type: 'bind', BindOptions: { ReadOnlyForceRecursive: true } })),
    /BindOptions\.ReadOnlyForceRecursive needs API v1\.44 or newer/,
  )
  assert.throws(
    () => adapt('1.44', mount({ Type: 'volume', VolumeOptions: { Subpath: 'a' } })),
    /VolumeOptions\.Subpath needs API v1\.45 or newer/,
  )
  assert.throws(() => adapt('1.47', mount({ Type: 'image' })), /Mount type "Image" needs API v1\.48 or newer/)
  assert.throws(
    () => adapt('1.43', { NetworkingConfig: { EndpointsConfig: { a: {}, b: {} } } }),
    /Container cannot be created with multiple network endpoints: a, b/,
  )
  assert.throws(
    () => adapt('1.40', { HostConfig: { Capabilities: ['CAP_CHOWN'] } }),
    /the HostConfig\.Capabilities field is not supported/,
  )
})

test('the container’s own MAC address becomes its endpoint’s', () => {
  const body = () => ({ MacAddress: '02:42:ac:11:00:09', HostConfig: { NetworkMode: 'bridge' } })
  const old = adapt('1.43', body())
  assert.equal(old.request.NetworkingConfig?.EndpointsConfig?.['bridge']?.MacAddress, '02:42:ac:11:00:09')
  assert.deepEqual(old.warnings, [])
  assert.match(adapt('1.44', body()).warnings.join(), /container-wide MacAddress field is now deprecated/)
  assert.throws(() => adapt('1.52', body()), /container-wide MAC address no longer supported/)
  assert.throws(
    () => adapt('1.43', { ...body(), HostConfig: { NetworkMode: 'host' } }),
    /conflicting options: mac-address and the network mode/,
  )
  const endpoint = { NetworkingConfig: { EndpointsConfig: { bridge: { MacAddress: '02:42:ac:11:00:01' } } } }
  assert.throws(
    () => adapt('1.45', { ...body(), ...endpoint }),
    /must match the endpoint-specific MAC address/,
  )
  assert.deepEqual(adapt('1.43', endpoint).request, { NetworkingConfig: { EndpointsConfig: { bridge: {} } } })
})

test('a port without bindings is published all the same', () => {
  const body = () => ({ HostConfig: { PortBindings: { '80/tcp': [] } } })
  const { request, warnings } = adapt('1.45', body())
  assert.deepEqual([request.HostConfig?.PortBindings, warnings], [{ '80/tcp': [{}] }, []])
  assert.match(adapt('1.52', body()).warnings.join(), /have an empty list of port-bindings: 80\/tcp/)
})

test('before 1.40 memory is shared with whom it may concern, and binds are recursive', () => {
  const body = () => ({
    HostConfig: { Mounts: [{ Type: 'bind', Target: '/x', BindOptions: { NonRecursive: true } }] },
  })
  const old = adapt('1.39', body()).request.HostConfig
  assert.equal(old?.IpcMode, 'shareable')
  assert.equal(old?.Mounts?.[0]?.BindOptions?.NonRecursive, undefined)
  assert.equal(adapt('1.39', {}).request.HostConfig?.IpcMode, 'shareable')
  assert.equal(adapt('1.39', { HostConfig: { IpcMode: 'private' } }).request.HostConfig?.IpcMode, 'private')
  const later = adapt('1.40', body()).request.HostConfig
  assert.deepEqual([later?.IpcMode, later?.Mounts?.[0]?.BindOptions?.NonRecursive], [undefined, true])
})

test('a priority of gateways is of 1.48, and capabilities in full of 1.40 alone', () => {
  const body = () => ({ NetworkingConfig: { EndpointsConfig: { a: { GwPriority: 5 } } } })
  assert.equal(adapt('1.47', body()).request.NetworkingConfig?.EndpointsConfig?.['a']?.GwPriority, undefined)
  assert.equal(adapt('1.48', body()).request.NetworkingConfig?.EndpointsConfig?.['a']?.GwPriority, 5)
  const host = { HostConfig: { Capabilities: ['CAP_CHOWN'] } }
  adapt('1.39', structuredClone(host))
  adapt('1.41', structuredClone(host))
})

test('a volume driver that is not used is warned of', () => {
  const body = (driver: object) => ({
    HostConfig: { VolumeDriver: 'x', Mounts: [{ Type: 'volume', Target: '/x', VolumeOptions: driver }] },
  })
  assert.match(adapt('1.48', body({})).warnings.join(), /volume-driver configuration is ignored/)
  assert.deepEqual(adapt('1.48', body({ DriverConfig: { Name: 'y' } })).warnings, [])
  assert.deepEqual(adapt('1.47', body({})).warnings, [])
})

test('sysctls of eth0 become options of its endpoint, which later versions must say themselves', () => {
  const option = 'com.docker.network.endpoint.sysctls'
  const body = (name: string, mode = 'net1') => ({
    HostConfig: { NetworkMode: mode, Sysctls: { [name]: '1', 'net.ipv4.ip_forward': '1' } },
    NetworkingConfig: { EndpointsConfig: { net1: { DriverOpts: { [option]: 'net.ipv4.conf.IFNAME.a=2' } } } },
  })
  const name = 'net.ipv4.conf.eth0.log_martians'
  const { request, warnings } = adapt('1.47', body(name))
  assert.deepEqual(request.HostConfig?.Sysctls, { 'net.ipv4.ip_forward': '1' })
  assert.equal(
    request.NetworkingConfig?.EndpointsConfig?.['net1']?.DriverOpts?.[option],
    'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.a=2',
  )
  assert.deepEqual(warnings, [
    `Migrated sysctl "${name}" to DriverOpts{"${option}":"net.ipv4.conf.IFNAME.log_martians=1"}.`,
  ])
  assert.throws(() => adapt('1.48', body(name)), /interface specific sysctl setting ".*" must be supplied/)
  assert.throws(() => adapt('1.47', body('net.ipv4.conf.eth1.x')), /unable to determine network endpoint/)
  assert.deepEqual(adapt('1.48', body(name, 'host')).warnings, [])
})

test('an update loses what its version did not have', () => {
  const update = (version: string) => {
    const request = {
      PidsLimit: 5,
      BlkioWeight: 10,
      BlkioDeviceReadBps: [{ Path: '/dev/x', Rate: 1 }],
      BlkioWeightDevice: [],
    }
    adaptUpdate(request, new ApiVersion(version))
    return Object.keys(request)
  }
  assert.deepEqual(update('1.39'), ['BlkioWeight'])
  assert.deepEqual(update('1.54'), ['PidsLimit', 'BlkioWeight'])
  assert.deepEqual(update('1.55'), ['PidsLimit', 'BlkioWeight', 'BlkioDeviceReadBps', 'BlkioWeightDevice'])
})
