import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { RuntimeSpec } from '../../oci/runtimeSpec.ts'
import { editsOf, readCdiDevices } from './cdiFolders.ts'
import { type ContainerEdits, cdiSpecificationOf } from './cdiSpecification.ts'
import { requestedDevices } from './deviceRequests.ts'
import { injectEdits, type NodeLookup } from './injectEdits.ts'

const spec = (change: object = {}): object => ({
  cdiVersion: '0.6.0',
  kind: 'acme.com/gadget',
  devices: [{ name: 'one', containerEdits: { env: ['ONE=1'] } }],
  ...change,
})

const refused = (change: object, message: string | RegExp): void =>
  assert.throws(() => cdiSpecificationOf(spec(change)), { message })

test('a specification that cannot be is refused with the reason', () => {
  refused({ cdiVersion: '9.9.9' }, 'invalid version "9.9.9"')
  refused({ kind: 'gadget' }, /^invalid kind "gadget"/)
  refused({ devices: [] }, 'invalid spec, no devices')
  refused({ unheard: 1 }, 'unknown field "unheard"')
  refused({ devices: [{ name: 'x', containerEdits: {} }] }, /empty device edits$/)
  refused({ devices: [{ name: '-x', containerEdits: { env: ['A=b'] } }] }, /^invalid device name/)
  refused({ containerEdits: { env: ['=b'] } }, 'invalid environment variable "=b"')
  refused({ containerEdits: { deviceNodes: [{ path: '/dev/x', type: 'z' }] } }, /invalid type "z"$/)
  refused({ containerEdits: { hooks: [{ hookName: 'x', path: '/x' }] } }, 'invalid hook name "x"')
  refused({ containerEdits: { mounts: [{ hostPath: '/x' }] } }, 'invalid mount, empty container path')
  refused(
    { cdiVersion: '1.1.0', containerEdits: { netDevices: [{ hostInterfaceName: 'a', name: 'b' }] } },
    /not moved into containers yet/,
  )
})

test('a specification has to be of the version that its fields came with', () => {
  const needs = (version: string, change: object): void =>
    refused({ cdiVersion: '0.3.0', ...change }, `the spec version must be at least v${version}`)
  needs('0.4.0', { containerEdits: { mounts: [{ hostPath: '/a', containerPath: '/b', type: 'tmpfs' }] } })
  needs('0.5.0', { devices: [{ name: '0', containerEdits: { env: ['A=b'] } }] })
  needs('0.6.0', { annotations: { a: 'b' } })
  needs('0.7.0', { containerEdits: { additionalGids: [5] } })
  needs('1.1.0', { containerEdits: { intelRdt: { enableMonitoring: true } } })
  cdiSpecificationOf(spec({ cdiVersion: '0.3.0' }))
})

const withFolders = async (
  files: Record<string, string>,
  run: (folders: string[]) => Promise<void>,
): Promise<void> => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-cdi-'))
  try {
    for (const folder of ['a', 'b']) mkdirSync(path.join(base, folder))
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(base, name), text)
    await run([path.join(base, 'a'), path.join(base, 'absent'), path.join(base, 'b')])
  } finally {
    rmSync(base, { recursive: true })
  }
}

const gadget = (value: string, change: object = {}): string =>
  JSON.stringify(spec({ devices: [{ name: 'one', containerEdits: { env: [`ONE=${value}`] } }], ...change }))

test('a later folder hides an earlier one, and two files of one folder clash', async () => {
  await withFolders({ 'a/x.json': gadget('early'), 'b/x.json': gadget('late') }, async folders => {
    const all = await readCdiDevices(folders)
    assert.deepEqual(editsOf(all, ['acme.com/gadget=one']).env, ['ONE=late'])
    assert.deepEqual(all.problems, [])
  })
  await withFolders({ 'a/x.json': gadget('1'), 'a/y.json': gadget('2') }, async folders => {
    const all = await readCdiDevices(folders)
    assert.equal(all.devices.size, 0)
    assert.match(all.problems[0]?.text ?? '', /^conflicting device "acme.com\/gadget=one"/)
  })
})

test('a file that cannot be read spoils no other', async () => {
  await withFolders({ 'a/bad.json': '{', 'a/x.json': gadget('1') }, async folders => {
    const all = await readCdiDevices(folders)
    assert.deepEqual([...all.devices.keys()], ['acme.com/gadget=one'])
    assert.match(all.problems[0]?.text ?? '', /^failed to load CDI Spec/)
    assert.throws(() => editsOf(all, ['acme.com/gadget=two', 'x/y=z']), {
      status: 500,
      message: 'CDI device injection failed: unresolvable CDI devices acme.com/gadget=two, x/y=z',
    })
  })
})

test('YAML is read as JSON is', async () => {
  const yaml = `
cdiVersion: "0.6.0"
kind: acme.com/gadget
devices:
- name: one
  containerEdits:
    deviceNodes:
    - {path: /dev/gadget, type: c, major: 1, minor: 3, fileMode: 0660}
    env: [ONE=yes]
`
  await withFolders({ 'a/x.yaml': yaml, 'a/bad.yaml': 'kind: [' }, async folders => {
    const all = await readCdiDevices(folders)
    assert.deepEqual(editsOf(all, ['acme.com/gadget=one']), {
      env: ['ONE=yes'],
      deviceNodes: [{ path: '/dev/gadget', type: 'c', major: 1, minor: 3, fileMode: 0o660 }],
      hooks: [],
      mounts: [],
      additionalGids: [],
    })
    assert.match(
      all.problems[0]?.text ?? '',
      /^failed to load CDI Spec invalid YAML: .* at line 1, column \d+$/,
    )
  })
})

test('edits of a specification come once, before those of its devices', async () => {
  const text = gadget('1', {
    containerEdits: { env: ['ALL=1'] },
    devices: [
      { name: 'one', containerEdits: { env: ['ONE=1'] } },
      { name: 'two', containerEdits: { env: ['TWO=1'] } },
    ],
  })
  await withFolders({ 'a/x.json': text }, async folders => {
    const edits = editsOf(await readCdiDevices(folders), ['acme.com/gadget=two', 'acme.com/gadget=one'])
    assert.deepEqual(edits.env, ['ALL=1', 'TWO=1', 'ONE=1'])
  })
})

const nodes: NodeLookup = at => {
  if (at === '/dev/real') return { type: 'c', major: 10, minor: 7, mode: 0o660 }
  throw new Error(`ENOENT: ${at}`)
}

const injected = (edits: ContainerEdits, uid = 0): RuntimeSpec => {
  const container = {
    process: { env: ['A=1', 'PATH=/bin'], user: { uid, gid: uid, additionalGids: [uid] } },
    mounts: [{ destination: '/proc' }, { destination: '/lib/own' }, { destination: '/a/b' }],
    linux: { resources: { devices: [{ allow: false }] }, devices: [] },
  } as unknown as RuntimeSpec
  injectEdits(container, edits, { taken: new Set(['/lib/own']), lookup: nodes })
  return container
}

test('nodes take what is missing from the host, and owners from the user', () => {
  const { linux } = injected(
    { deviceNodes: [{ path: '/dev/seen', hostPath: '/dev/real', permissions: 'r' }] },
    7,
  )
  assert.deepEqual(linux.devices, [
    { path: '/dev/seen', type: 'c', major: 10, minor: 7, fileMode: 0o660, uid: 7, gid: 7 },
  ])
  assert.deepEqual(linux.resources.devices?.at(-1), {
    ...{ allow: true, type: 'c', major: 10, minor: 7, access: 'r' },
  })
  const whole = injected({ deviceNodes: [{ path: '/dev/x', type: 'b', major: 8, minor: 1, gid: 6 }] })
  assert.deepEqual(whole.linux.devices, [{ path: '/dev/x', type: 'b', major: 8, minor: 1, gid: 6 }])
  assert.throws(
    () => injected({ deviceNodes: [{ path: '/dev/none' }] }),
    /failed to inject devices: failed to stat CDI host device "\/dev\/none": ENOENT/,
  )
  assert.throws(() => injected({ deviceNodes: [{ path: '/dev/real', type: 'b' }] }), /type mismatch \(b, c\)/)
})

test('variables replace, mounts leave the user’s alone, hooks and groups are added', () => {
  const { process, mounts, hooks } = injected({
    env: ['A=2', 'B=3'],
    mounts: [
      { hostPath: '/h', containerPath: '/x', options: ['ro'] },
      { hostPath: '/h', containerPath: '/lib/own' },
      { hostPath: '/n', containerPath: '/a/b', type: 'tmpfs' },
    ],
    hooks: [
      { hookName: 'createRuntime', path: '/hook', args: ['hook', 'x'], timeout: 3 },
      { hookName: 'poststop', path: '/end' },
    ],
    additionalGids: [0, 44],
  })
  assert.deepEqual(process.env, ['A=2', 'PATH=/bin', 'B=3'])
  assert.deepEqual(mounts, [
    { destination: '/proc' },
    { source: '/h', destination: '/x', type: 'bind', options: ['ro'] },
    { destination: '/lib/own' },
    { source: '/n', destination: '/a/b', type: 'tmpfs' },
  ])
  assert.deepEqual(hooks, {
    createRuntime: [{ path: '/hook', args: ['hook', 'x'], timeout: 3 }],
    poststop: [{ path: '/end' }],
  })
  assert.deepEqual(process.user.additionalGids, [0, 44])
})

test('GPUs are asked for by number, name or all, of the vendor that is there', async () => {
  const gpu = gadget('1', { kind: 'nvidia.com/gpu' })
  await withFolders({ 'a/x.json': gpu }, async folders => {
    const devices = await readCdiDevices(folders)
    const asked = (request: object) => requestedDevices({ Capabilities: [['gpu']], ...request }, devices)
    assert.deepEqual(asked({ Count: -1 }), ['nvidia.com/gpu=all'])
    assert.deepEqual(asked({ Count: 2 }), ['nvidia.com/gpu=0', 'nvidia.com/gpu=1'])
    assert.deepEqual(asked({ DeviceIDs: ['7', 'x.com/y=z'] }), ['nvidia.com/gpu=7', 'x.com/y=z'])
    assert.deepEqual(asked({ Driver: 'nvidia', Capabilities: [], Count: 1 }), ['nvidia.com/gpu=0'])
    assert.throws(() => asked({ Count: 1, DeviceIDs: ['1'] }), /cannot set both Count and DeviceIDs/)
    assert.throws(() => asked({ Capabilities: [['gpu', 'fly'], ['swim']] }), {
      message: 'could not select device driver "" with capabilities: [[gpu fly] [swim]]',
    })
    assert.throws(() => asked({ Driver: 'cdi', Count: 1 }), /unexpected count in CDI device request/)
  })
  await withFolders({}, async folders => {
    const devices = await readCdiDevices(folders)
    assert.throws(() => requestedDevices({ Count: -1, Capabilities: [['gpu']] }, devices), {
      message: 'could not select device driver "" with capabilities: [[gpu]]',
    })
  })
})
