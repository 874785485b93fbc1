import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** Devices that a specification of the Container Device Interface describes, made by this test. */

const folder = mkdtempSync(path.join(tmpdir(), 'berth-cdi-'))
const shared = path.join(folder, 'shared')

const write = (name: string, specification: object): void =>
  writeFileSync(path.join(folder, name), JSON.stringify({ cdiVersion: '0.7.0', ...specification }))

/** It reads its state, as hooks must: crun fails where a hook is gone before it was told. */
const hook = (hookName: string): object => ({
  hookName,
  path: '/bin/sh',
  args: ['sh', '-c', `cat >/dev/null; echo ${hookName} >> ${shared}/hooks`],
})

let daemon: TestDaemon
before(async () => {
  mkdirSync(shared)
  writeFileSync(path.join(shared, 'library'), 'of the vendor\n')
  write('acme.json', {
    kind: 'acme.com/gadget',
    containerEdits: {
      env: ['GADGETS=yes'],
      mounts: [{ hostPath: shared, containerPath: '/opt/acme', options: ['rbind', 'ro'] }],
    },
    devices: [
      {
        name: 'fuse',
        containerEdits: {
          deviceNodes: [{ path: '/dev/gadget', hostPath: '/dev/fuse', permissions: 'rw' }],
          additionalGids: [4321],
          hooks: [hook('createRuntime'), hook('poststop')],
        },
      },
      { name: 'lost', containerEdits: { deviceNodes: [{ path: '/dev/no-such-thing' }] } },
    ],
  })
  daemon = await startDaemon({ flags: ['--cdi-spec-dir', folder] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const run = (options: string[], script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', ...options, 'busybox', 'sh', '-c', script])

test('a device of CDI brings its node, variables, mounts, groups and hooks', async () => {
  const script =
    'stat -c %t:%T /dev/gadget; echo $GADGETS; cat /opt/acme/library; touch /opt/acme/x 2>&1; id -G; cat /opt/acme/hooks'
  assert.equal(
    await run(['--device', 'acme.com/gadget=fuse'], script),
    [
      'a:e5',
      'yes',
      'of the vendor',
      'touch: /opt/acme/x: Read-only file system',
      '0 4321',
      'createRuntime',
    ].join('\n'),
  )
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'with',
    '--device',
    'acme.com/gadget=fuse',
    'busybox',
    'sleep',
    '1000',
  ])
  assert.equal(await daemon.mustDocker(['exec', 'with', 'id', '-G']), '0 4321')
  assert.equal(
    await daemon.mustDocker(['exec', 'with', 'sh', '-c', 'head -c0 /dev/gadget && echo open']),
    'open',
  )
  assert.equal(
    await daemon.mustDocker([
      'inspect',
      '-f',
      '{{json (index .HostConfig.DeviceRequests 0).DeviceIDs}}',
      'with',
    ]),
    '["acme.com/gadget=fuse"]',
  )
  await daemon.mustDocker(['rm', '-f', 'with'])
})

test('a specification that comes later is seen at the next start', async () => {
  const name = 'acme.com/later=one'
  const id = await daemon.mustDocker(['create', '--device', name, 'busybox', 'sh', '-c', 'echo $LATER'])
  const early = await daemon.docker(['start', '-a', id])
  assert.match(early.stderr, /CDI device injection failed: unresolvable CDI devices acme\.com\/later=one/)
  write('later.json', {
    kind: 'acme.com/later',
    devices: [{ name: 'one', containerEdits: { env: ['LATER=seen'] } }],
  })
  assert.equal(await daemon.mustDocker(['start', '-a', id]), 'seen')
})

test('what is not there is told, and leaves nothing behind', async () => {
  const failed = async (...options: string[]): Promise<string> => {
    const result = await daemon.docker(['run', '--rm', ...options, 'busybox', 'true'])
    // The client makes 127 of any error that has `no such file or directory` in it.
    assert.equal(result.code, /no such file or directory/.test(result.stderr) ? 127 : 125, result.stderr)
    return result.stderr
  }
  assert.match(
    await failed('--device', 'acme.com/gadget=lost'),
    /failed to inject devices: failed to stat CDI host device "\/dev\/no-such-thing"/,
  )
  assert.match(
    await failed('--gpus', 'all'),
    /could not select device driver "" with capabilities: \[\[gpu\]\]/,
  )
  assert.doesNotMatch(await daemon.mustDocker(['ps', '-a', '--format', '{{.Status}}']), /Created|Up/)
})

test('a specification in YAML', async () => {
  writeFileSync(
    path.join(folder, 'vendor.yaml'),
    [
      'cdiVersion: 0.6.0',
      'kind: vendor.com/class',
      'devices:',
      '- name: one',
      '  containerEdits:',
      '    env: ["OF=yaml"]',
      '    deviceNodes: [{path: /dev/own, hostPath: /dev/zero, fileMode: 0640}]',
    ].join('\n'),
  )
  assert.equal(
    await run(['--device', 'vendor.com/class=one'], 'echo $OF; stat -c %t:%T:%a /dev/own'),
    'yaml\n1:5:640',
  )
  rmSync(path.join(folder, 'vendor.yaml'))
})

test('GPUs come from the vendor that has a specification', async () => {
  write('gpu.json', {
    kind: 'nvidia.com/gpu',
    devices: ['0', 'all'].map(name => ({ name, containerEdits: { env: [`GPU=${name}`] } })),
  })
  assert.equal(await run(['--gpus', 'all'], 'echo $GPU'), 'all')
  assert.equal(await run(['--gpus', '1'], 'echo $GPU'), '0')
})

test('information lists folders, devices and files that are wrong', async () => {
  writeFileSync(path.join(folder, 'broken.json'), '{')
  const info = await daemon.json<{
    CDISpecDirs: string[]
    DiscoveredDevices: { Source: string; ID: string }[]
    Warnings: string[]
  }>('GET', '/v1.50/info')
  assert.deepEqual(info.CDISpecDirs, [folder])
  assert.ok(
    info.DiscoveredDevices.some(({ Source, ID }) => Source === 'cdi' && ID === 'acme.com/gadget=fuse'),
  )
  assert.match(info.Warnings.join('\n'), /CDI: Error associated with spec file .*broken\.json/)
  rmSync(path.join(folder, 'broken.json'))
})

test('a folder without devices is refused, and a privileged container gets a device by another name', async () => {
  const empty = await daemon.docker(['run', '--rm', '--device', '/etc', 'busybox', 'true'])
  assert.match(empty.stderr, /adding custom device "\/etc": not a device node/)
  assert.equal(
    await run(['--privileged', '--device', '/dev/fuse:/dev/other:r'], 'stat -c %t:%T /dev/other'),
    'a:e5',
  )
})
