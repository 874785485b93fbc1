import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { cgroupSupport } from '../src/linux/cgroupSupport.ts'
import { cgroupVersion } from '../src/linux/cgroups.ts'
import { blockDevice } from './harness/blockDevice.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon({ flags: ['--default-ulimit', 'nofile=300:400'] })
  await daemon.loadBusybox()
  await daemon.mustDocker(['run', '-d', '--name', 'peer', '-h', 'peerhost', 'busybox', 'sleep', '1000'])
})
after(() => daemon.close())

const sh = (options: string[], script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', ...options, 'busybox', 'sh', '-c', script])

/** `POST /containers/create` of busybox with these fields, by a version of the API. */
const create = async (
  body: object,
  version = '1.55',
): Promise<{ status: number; message: string; id: string; warnings: string[] }> => {
  const { status, text } = await daemon.api('POST', `/v${version}/containers/create`, {
    Image: 'busybox',
    Cmd: ['true'],
    ...body,
  })
  const json = JSON.parse(text) as { message?: string; Id?: string; Warnings?: string[] }
  return { status, message: json.message ?? '', id: json.Id ?? '', warnings: json.Warnings ?? [] }
}

const inspect = (
  id: string,
): Promise<{ HostConfig: Record<string, unknown>; Config: Record<string, unknown> }> =>
  daemon.json('GET', `/v1.45/containers/${id}/json`)

test('what cannot be is refused at create, in Docker’s words', async () => {
  // What the host does not have is taken out, whatever its value.
  const ofWeight: [object, string][] = cgroupSupport().blockWeight
    ? [[{ BlkioWeight: 5 }, 'Range of blkio weight is from 10 to 1000']]
    : []
  const ofSwappiness: [object, string][] = cgroupSupport().swappiness
    ? [[{ MemorySwappiness: 101 }, 'Invalid value: 101, valid memory swappiness range is 0-100']]
    : []
  const refused: [object, string][] = [
    ...ofSwappiness,
    [
      { Memory: 1e8, MemoryReservation: 2e8 },
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    ],
    [{ MemoryReservation: 1000 }, 'Minimum memory reservation allowed is 6MB'],
    [
      { Memory: 1e8, MemorySwap: 5e7 },
      'Minimum memoryswap limit should be larger than memory limit, see usage',
    ],
    [{ NanoCpus: 1e9, CpuPeriod: 5000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
    [{ NanoCpus: 1e9, CpuQuota: 5000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [
      { CpuPeriod: 10 },
      'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
    ],
    [{ CpuQuota: 10 }, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
    [{ CpuShares: -1 }, 'invalid CPU shares (-1): value must be a positive integer'],
    [{ CpusetCpus: 'a' }, 'Invalid value a for cpuset cpus: invalid format: a'],
    [{ CpusetMems: '0-99999' }, 'Invalid value 0-99999 for cpuset mems: value of out range, maximum is 8192'],
    [{ CpusetMems: '77' }, 'Requested memory nodes are not available - requested 77, available: 0'],
    ...ofWeight,
    [{ OomScoreAdj: 1001 }, 'Invalid value 1001, range for oom score adj is [-1000, 1000]'],
    [{ ShmSize: -1 }, 'SHM size can not be less than 0'],
    [{ PidMode: 'x' }, 'invalid PID mode: x'],
    [{ PidMode: 'private' }, 'invalid PID mode: private'],
    [{ NetworkMode: 'container:' }, 'invalid network mode: invalid container format container:<name|id>'],
    [
      { NetworkMode: 'container:peer', Links: ['peer'] },
      "conflicting options: container type network can't be used with links. This would result in undefined behavior",
    ],
    [
      { NetworkMode: 'host', Links: ['peer'] },
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    ],
    [{ UTSMode: 'x' }, 'invalid UTS mode: x'],
    [{ CgroupnsMode: 'x' }, 'invalid cgroup namespace mode: x'],
    [{ IpcMode: 'container:absent' }, 'No such container: absent'],
    [{ PidMode: 'container:absent' }, 'No such container: absent'],
    [{ Isolation: 'hyperv' }, "invalid isolation (hyperv): linux only supports 'default'"],
    [{ ExtraHosts: ['nocolon'] }, 'bad format for add-host: "nocolon"'],
    [{ ExtraHosts: ['a:b'] }, 'invalid IP address in add-host: "b"'],
    [
      { Annotations: { '': 'x' } },
      'invalid Annotations: the empty string is not permitted as an annotation key',
    ],
    [{ SecurityOpt: ['nonsense'] }, 'invalid --security-opt 1: "nonsense"'],
    [{ SecurityOpt: ['nonsense=1'] }, 'invalid --security-opt 2: "nonsense=1"'],
    [{ SecurityOpt: ['no-new-privileges=maybe'] }, 'invalid --security-opt 2: "no-new-privileges=maybe"'],
    [
      { SecurityOpt: ['label=nonsense'] },
      "bad label option \"nonsense\", valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value",
    ],
    [{ CapAdd: ['NONSENSE'] }, 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'],
    [
      { RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } },
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ],
    [
      { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: -3 } },
      'invalid restart policy: maximum retry count cannot be negative',
    ],
    [{ NetworkMode: 'container:peer', Dns: ['1.1.1.1'] }, 'conflicting options: dns and the network mode'],
    [
      { NetworkMode: 'container:peer', PublishAllPorts: true },
      'conflicting options: port publishing and the container type network mode',
    ],
    [
      { Binds: ['/a:/'] },
      `invalid volume specification: '/a:/': invalid mount config for type "bind": invalid specification: destination can't be '/'`,
    ],
    [
      { Mounts: [{ Type: 'bind', Source: '/tmp', Target: '/x', BindOptions: { Propagation: 'x' } }] },
      'invalid mount config for type "bind": invalid propagation mode: x',
    ],
    [{ Mounts: [{ Type: 'x', Target: '/x' }] }, 'invalid mount config for type "x": mount type unknown'],
    [{ Tmpfs: { x: '' } }, "invalid tmpfs mount: invalid mount path: 'x' mount path must be absolute"],
    [{ Runtime: 'absent' }, 'unknown or invalid runtime name: absent'],
  ]
  for (const [HostConfig, words] of refused) {
    const { status, message } = await create({ HostConfig })
    assert.deepEqual([status, message], [400, words])
  }
  const long = await create({ Hostname: 'h'.repeat(65) })
  assert.match(long.message, /^hostname "h+" is too long \(maximum 64 bytes\)$/)
  const alias = await create({
    NetworkingConfig: {
      EndpointsConfig: { bridge: { Aliases: ['x'], IPAMConfig: { IPv4Address: '172.17.0.9' } } },
    },
  })
  assert.equal(alias.status, 400)
  assert.match(
    alias.message,
    /^invalid config for network bridge: invalid endpoint settings:\n\* user-specified IP address/,
  )
  const { status, text } = await daemon.api('POST', '/containers/create', {})
  assert.deepEqual(
    [status, JSON.parse(text)],
    [400, { message: 'config cannot be empty in order to create a container' }],
  )
})

test('a size of the writable layer is refused, not left out in silence', async () => {
  const { status, message } = await create({ HostConfig: { StorageOpt: { size: '1g' } } })
  assert.deepEqual(
    [status, message],
    [500, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"],
  )
})

test('inspect shows the values in effect', async () => {
  const { id } = await create({
    HostConfig: { Memory: 64e6, PidsLimit: -1, MemorySwappiness: -1, PidMode: 'container:peer' },
  })
  const { HostConfig: host } = await inspect(id)
  const peer = await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'peer'])
  assert.equal(host['MemorySwap'], 128e6)
  assert.equal(host['PidsLimit'], null)
  assert.equal(host['MemorySwappiness'], null)
  assert.equal(host['OomKillDisable'], false)
  assert.equal(host['PidMode'], `container:${peer}`)
  assert.deepEqual(host['Ulimits'], [{ Name: 'nofile', Soft: 300, Hard: 400 }])
  const open = await inspect((await create({ HostConfig: { Privileged: true } })).id)
  assert.deepEqual(open.HostConfig['SecurityOpt'], ['label=disable'])
  assert.equal(open.HostConfig['MaskedPaths'], null)
})

test('warnings tell what the host cannot do, and what is doubtful', async () => {
  const { warnings } = await create({
    HostConfig: { CpuPercent: 5, NetworkMode: 'host', PortBindings: { '80/tcp': [] } },
  })
  assert.deepEqual(warnings, [
    'linux does not support CPU percent. Percent discarded.',
    'Published ports are discarded when using host network mode',
    'Following container port(s) have an empty list of port-bindings: 80/tcp. Such bindings will be discarded in a future version.',
  ])
  const oom = await create({ HostConfig: { OomKillDisable: true } })
  assert.match(
    oom.warnings.join(),
    cgroupVersion === 1 ? /OOM killer is disabled/ : /OomKillDisable discarded/,
  )
})

test('a network or a container that is not there is missed at the start', async () => {
  const absent = await create({ HostConfig: { NetworkMode: 'absent' } })
  assert.equal(absent.status, 201)
  const start = await daemon.api('POST', `/containers/${absent.id}/start`)
  assert.deepEqual([start.status, JSON.parse(start.text)], [404, { message: 'network absent not found' }])
  const lone = await create({ HostConfig: { NetworkMode: 'container:absent' } })
  const joined = await daemon.api('POST', `/containers/${lone.id}/start`)
  assert.equal(joined.status, 500)
  assert.match(joined.text, /joining network namespace of container: No such container: absent/)
  const stopped = await create({})
  const onStopped = await create({ HostConfig: { NetworkMode: `container:${stopped.id}` } })
  const refused = await daemon.api('POST', `/containers/${onStopped.id}/start`)
  assert.equal(refused.status, 409)
  assert.match(
    refused.text,
    /cannot join network namespace of a non running container: container \w+ is created/,
  )
  const shy = await daemon.docker(['run', '--rm', '--ipc', 'container:peer', 'busybox', 'true'])
  assert.match(
    shy.stderr,
    /failed to join IPC namespace: container \w+: non-shareable IPC \(hint: use IpcMode:shareable/,
  )
})

test('names: of the host with its network, of the other container with its', async () => {
  assert.equal(await sh(['--network', 'host'], 'hostname'), hostname())
  assert.equal(await sh(['--network', 'container:peer'], 'hostname; cat /etc/hostname'), 'peerhost\npeerhost')
  assert.equal(await sh(['--uts', 'host'], 'hostname'), hostname())
})

test('init stays out of a pid namespace that is not the container’s own', async () => {
  assert.doesNotMatch(await sh(['--init', '--pid', 'container:peer'], 'cat /proc/$$/cmdline'), /docker-init/)
  assert.equal(await sh(['--ipc', 'none'], 'ls -d /dev/shm 2>/dev/null; echo none'), 'none')
})

test('devices: a node with its rights, a folder, a rule', async () => {
  assert.equal(await sh(['--device', '/dev/fuse:/dev/other:r'], 'stat -c %t:%T /dev/other'), 'a:e5')
  assert.match(await sh(['--device', '/dev/net'], 'ls /dev/net'), /tun/)
  assert.match(
    (await daemon.docker(['run', '--rm', '--device', '/etc/passwd', 'busybox', 'true'])).stderr,
    /error gathering device information while adding custom device "\/etc\/passwd": not a device node/,
  )
  const node = 'mknod /tmp/f c 10 229 && head -c0 /tmp/f 2>/dev/null && echo opened || echo closed'
  assert.equal(await sh([], node), 'closed')
  assert.equal(await sh(['--device-cgroup-rule', 'c 10:229 rwm'], node), 'opened')
})

test('limits of memory, cpu and block devices reach the control groups', async () => {
  const read = (v1: string, v2: string): string => `cat /sys/fs/cgroup/${cgroupVersion === 1 ? v1 : v2}`
  assert.equal(
    await sh(
      ['-m', '64m', '--memory-reservation', '32m'],
      read('memory/memory.soft_limit_in_bytes', 'memory.low'),
    ),
    '33554432',
  )
  assert.match(
    await sh(
      ['-m', '64m', '--memory-swap', '-1'],
      read('memory/memory.memsw.limit_in_bytes', 'memory.swap.max'),
    ),
    cgroupVersion === 1 ? /^9223372036854771712$/ : /^max$/,
  )
  assert.equal(await sh(['--oom-score-adj', '500'], 'cat /proc/self/oom_score_adj'), '500')
  assert.equal(await sh([], 'ulimit -n; ulimit -Hn'), '300\n400')
  const { id } = await create({
    Cmd: ['sh', '-c', read('blkio/blkio.throttle.read_bps_device', 'io.max')],
    HostConfig: { BlkioDeviceReadBps: [{ Path: blockDevice.path, Rate: 1048576 }] },
  })
  assert.match(await daemon.mustDocker(['start', '-a', id]), new RegExp(`^${blockDevice.numbers} .*1048576`))
})

test('security options: a profile from a file, open system paths', async () => {
  const file = path.join(daemon.base, 'profile.json')
  writeFileSync(
    file,
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}',
  )
  assert.match(
    await sh(['--security-opt', `seccomp=${file}`], 'mkdir /x 2>&1 || true'),
    /Operation not permitted/,
  )
  const readOnly = 'grep -c " /proc/sys " /proc/mounts || true'
  assert.equal(await sh([], readOnly), '1')
  assert.equal(await sh(['--security-opt', 'systempaths=unconfined'], readOnly), '0')
})

test('users: by name and number, and who is not there', async () => {
  const refused = async (...options: string[]): Promise<string> =>
    (await daemon.docker(['run', '--rm', ...options, 'busybox', 'true'])).stderr
  assert.match(
    await refused('-u', '0:ghost'),
    /unable to find group ghost: no matching entries in group file/,
  )
  assert.match(await refused('--group-add', 'ghost'), /unable to find group ghost/)
  assert.match(await refused('-u', '4294967296'), /uids and gids must be in range 0-2147483647/)
  assert.equal(await sh(['-u', '1:2'], 'id -u; id -g; id -G'), '1\n2\n2')
})
