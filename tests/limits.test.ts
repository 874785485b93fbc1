import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { cgroupVersion } from '../src/linux/cgroups.ts'
import { blockDevice } from './harness/blockDevice.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** Limits that are changed hold for the running container, over the daemon's death, and at the next start. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const figures = async (name: string): Promise<string> => {
  const files =
    cgroupVersion === 1
      ? [
          'memory/memory.limit_in_bytes',
          'memory/memory.soft_limit_in_bytes',
          'pids/pids.max',
          'cpuset/cpuset.cpus',
        ]
      : ['memory.max', 'memory.low', 'pids.max', 'cpuset.cpus']
  return daemon.mustDocker(['exec', name, 'sh', '-c', `cd /sys/fs/cgroup; cat ${files.join(' ')}`])
}

test('an update holds at once, over kill -9 of the daemon, and after a stop and a start', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'changed', '-m', '64m', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker([
    ...['update', '-m', '96m', '--memory-swap', '128m', '--memory-reservation', '32m'],
    ...['--pids-limit', '44', '--cpuset-cpus', '0', 'changed'],
  ])
  const wanted = '100663296\n33554432\n44\n0'
  assert.equal(await figures('changed'), wanted)
  await daemon.kill()
  await daemon.start()
  assert.equal(await figures('changed'), wanted)
  await daemon.mustDocker(['update', '--pids-limit', '45', 'changed'])
  await daemon.mustDocker(['restart', '-t', '0', 'changed'])
  assert.equal(await figures('changed'), wanted.replace('\n44\n', '\n45\n'))
})

test('swap is without limit from an update on', async () => {
  await daemon.mustDocker([
    ...['run', '-d', '--name', 'swapping', '-m', '64m', '--memory-swap', '64m'],
    ...['busybox', 'sleep', '1000'],
  ])
  await daemon.mustDocker(['update', '--memory-swap', '-1', 'swapping'])
  const file = cgroupVersion === 1 ? 'memory/memory.memsw.limit_in_bytes' : 'memory.swap.max'
  assert.match(
    await daemon.mustDocker(['exec', 'swapping', 'cat', `/sys/fs/cgroup/${file}`]),
    /^(9223372036854771712|max)$/,
  )
})

test('limits of devices end with an empty list, from 1.55 on', async () => {
  const { Id: id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    ...{ Image: 'busybox', Cmd: ['true'] },
    HostConfig: { BlkioDeviceReadBps: [{ Path: blockDevice.path, Rate: 1048576 }] },
  })
  const limits = async (): Promise<unknown> =>
    (await daemon.json<{ HostConfig: { BlkioDeviceReadBps?: unknown[] } }>('GET', `/containers/${id}/json`))
      .HostConfig.BlkioDeviceReadBps?.length ?? 0
  await daemon.json('POST', `/v1.54/containers/${id}/update`, { BlkioDeviceReadBps: [] })
  assert.equal(await limits(), 1)
  await daemon.json('POST', `/v1.55/containers/${id}/update`, { BlkioDeviceReadBps: [] })
  assert.equal(await limits(), 0)
})

test('an update that cannot be leaves all as it was', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'kept', '--pids-limit', '50', 'busybox', 'sleep', '1000'])
  const update = async (body: object): Promise<[number, string]> => {
    const { status, text } = await daemon.api('POST', '/containers/kept/update', body)
    return [status, (JSON.parse(text) as { message: string }).message]
  }
  assert.deepEqual(await update({ PidsLimit: 60, IOMaximumIOps: 5 }), [
    400,
    'Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps',
  ])
  const [status, message] = await update({ PidsLimit: 60, CpusetCpus: '4000' })
  assert.equal(status, 400)
  assert.match(message, /^Requested CPUs are not available - requested 4000, available: /)
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.HostConfig.PidsLimit}}', 'kept']), '50')
  assert.match(await figures('kept'), /\n50\n/)
})
