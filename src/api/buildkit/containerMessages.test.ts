import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { InitMessageSchema, NewContainerRequestSchema } from '../../wire/buildkit/gateway_pb.ts'
import { CacheSharingOpt, MountSchema, MountType, NetMode, SecurityMode } from '../../wire/buildkit/ops_pb.ts'
import { containerQuery, processRequest } from './containerMessages.ts'

type Fields<T> = Omit<T, '$typeName'>

const query = (fields: Fields<MessageInitShape<typeof NewContainerRequestSchema>>) =>
  containerQuery(create(NewContainerRequestSchema, fields))
const request = (fields: Fields<MessageInitShape<typeof InitMessageSchema>>) =>
  processRequest(create(InitMessageSchema, fields))

test('mounts name the results that they are of, each once', () => {
  const { refs, mounts, network, extraHosts, id } = query({
    containerId: 'box',
    network: NetMode.NONE,
    extraHosts: [{ host: 'name', ip: '10.0.0.1' }],
    mounts: [
      { dest: '/', resultId: 'a', readonly: true },
      { dest: 'relative/', resultId: 'b', selector: 'part' },
      { dest: '/again', resultId: 'a' },
      { dest: '/empty' },
    ],
  })
  assert.deepEqual(refs, ['a', 'b'])
  assert.deepEqual([id, network, extraHosts], ['box', 'none', [{ host: 'name', address: '10.0.0.1' }]])
  assert.deepEqual(
    mounts.map(mount => [mount.target, mount.readOnly, 'input' in mount ? mount.input : '-']),
    [
      ['/', true, 0],
      ['/relative', false, 1],
      ['/again', false, 0],
      ['/empty', false, undefined],
    ],
  )
  assert.equal(mounts[1]?.kind === 'bind' && mounts[1].source, 'part')
})

test('each kind of mount has its options, and its defaults', () => {
  const { mounts } = query({
    mounts: [
      { dest: '/a', mountType: MountType.CACHE, cacheOpt: { id: 'it', sharing: CacheSharingOpt.LOCKED } },
      { dest: '/b', mountType: MountType.CACHE, cacheOpt: {} },
      { dest: '/c', mountType: MountType.TMPFS, tmpfsOpt: { size: 4096n } },
      { dest: '/d', mountType: MountType.SECRET, secretOpt: { id: 'key', uid: 1, gid: 2, mode: 0o400 } },
      { dest: '/e', mountType: MountType.SSH, sshOpt: { optional: true, mode: 0o600 } },
    ],
  })
  const [locked, shared, memory, secret, agent] = mounts
  const common = { readOnly: false }
  assert.deepEqual(locked, {
    ...{ ...common, kind: 'cache', target: '/a', id: 'it', sharing: 'locked', source: '' },
    input: undefined,
  })
  assert.deepEqual(shared?.kind === 'cache' && [shared.id, shared.sharing], ['/b', 'shared'])
  assert.deepEqual(memory, { ...common, kind: 'tmpfs', target: '/c', size: 4096 })
  const owned = { uid: 1, gid: 2, mode: 0o400 }
  assert.deepEqual(secret, { ...common, ...owned, kind: 'secret', target: '/d', id: 'key', required: true })
  assert.deepEqual(agent?.kind === 'ssh' && [agent.id, agent.required], ['default', false])
})

const wrong: [mount: Fields<MessageInitShape<typeof MountSchema>>, message: RegExp][] = [
  [{ mountType: MountType.CACHE }, /missing cache mount options/],
  [
    { mountType: MountType.CACHE, cacheOpt: { sharing: 9 as CacheSharingOpt } },
    /invalid cache sharing option: 9/,
  ],
  [{ mountType: MountType.SECRET }, /secret ID missing/],
  [{ mountType: MountType.SSH }, /missing ssh mount options/],
  [{ mountType: 17 as MountType }, /mount type 17 not implemented/],
]
for (const [mount, message] of wrong)
  test(`refused: ${message.source}`, () =>
    assert.throws(() => query({ mounts: [create(MountSchema, { dest: '/x', ...mount })] }), message))

test('a network that is none is refused', () =>
  assert.throws(() => query({ network: 7 as NetMode }), /unknown network mode 7/))

test('a process has the streams that it is asked to have', () => {
  const asked = request({
    meta: { args: ['sh'], env: ['A=b'], cwd: '/w', user: '1' },
    fds: [0, 2],
    tty: true,
    security: SecurityMode.INSECURE,
    secretenv: [{ id: 'key', name: 'KEY', optional: true }],
  })
  assert.deepEqual(asked, {
    ...{ args: ['sh'], env: ['A=b'], directory: '/w', user: '1', security: 'insecure' },
    secretEnv: [{ id: 'key', name: 'KEY', required: false }],
    streams: { terminal: true, stdin: true, stdout: false, stderr: true },
  })
})

test('a process without a program, or a secret without an id, is refused', () => {
  assert.throws(() => request({ meta: { args: [] } }), /needs a program/)
  assert.throws(() => request({}), /needs a program/)
  assert.throws(
    () => request({ meta: { args: ['a'] }, secretenv: [{ name: 'KEY' }] }),
    /secret ID missing for "KEY" environment variable/,
  )
})
