import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostConfig } from '../../wire/container.ts'
import { decideMounts, parseBind, parseMount } from './mountRequests.ts'
import { specMounts } from './specMounts.ts'
import type { ContainerRecord } from './types.ts'

const defaults = { recursiveReadOnly: true, inherited: [], dataRoot: '/var/lib/berth' }
const decide = (hostConfig: HostConfig) => decideMounts(hostConfig, {}, defaults)

test('-v takes each propagation, and words in any order', () => {
  const first = (bind: string) => decide({ Binds: [bind] })[0]
  for (const word of ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'])
    assert.equal(first(`/a:/b:${word}`)?.propagation, word)
  assert.equal(first('/a:/b')?.propagation, 'rprivate')
  for (const mode of ['ro,rslave', 'rslave,ro', 'Z,rslave,ro,cached']) {
    const mount = first(`/a:/b:${mode}`)
    assert.deepEqual([mount?.readWrite, mount?.propagation, mount?.mode], [false, 'rslave', mode])
  }
  for (const word of ['consistent', 'cached', 'delegated', 'z', 'Z', 'nocopy', 'rw'])
    assert.equal(first(`/a:/b:${word}`)?.readWrite, true)
})

test('-v in a wrong form is refused in Docker’s words', () => {
  const refused = (bind: string, words: string) =>
    assert.throws(() => parseBind(bind), { status: 400, message: words })
  for (const mode of [
    'default',
    'ro,rw',
    'z,Z',
    'rslave,shared',
    'ro,ro',
    'ro,',
    'cached,delegated',
    'nonsense',
  ])
    refused(`/a:/b:${mode}`, `invalid mode: ${mode}`)
  for (const bind of [':/b', '/a:/b:ro:x', '/a:ro', '/a:rslave', ''])
    refused(bind, `invalid volume specification: '${bind}'`)
  const config = (bind: string, type: string, why: string) =>
    refused(bind, `invalid volume specification: '${bind}': invalid mount config for type "${type}": ${why}`)
  config('/a:/', 'bind', "invalid specification: destination can't be '/'")
  config('/a:b', 'bind', "invalid mount path: 'b' mount path must be absolute")
  config('name:/b:rslave', 'volume', 'field BindOptions must not be specified')
})

test('--mount in a wrong form is refused in Docker’s words', () => {
  const refused = (request: object, words: string) =>
    assert.throws(() => parseMount(request), { status: 400, message: words })
  const config = (request: { Type: string; [field: string]: unknown }, why: string) =>
    refused({ Target: '/b', ...request }, `invalid mount config for type "${request.Type}": ${why}`)
  const bind = { Type: 'bind', Source: '/a' }
  config({ ...bind, Source: '' }, 'field Source must not be empty')
  config({ ...bind, Source: 'a' }, "invalid mount path: 'a' mount path must be absolute")
  config({ ...bind, BindOptions: { Propagation: 'x' } }, 'invalid propagation mode: x')
  config({ ...bind, VolumeOptions: {} }, 'field VolumeOptions must not be specified')
  config({ Type: 'volume', TmpfsOptions: {} }, 'field TmpfsOptions must not be specified')
  config({ Type: 'tmpfs', Source: '/a' }, 'field Source must not be specified')
  config({ Type: 'tmpfs', TmpfsOptions: { Options: [['suid']] } }, 'invalid option: suid')
  config({ Type: 'tmpfs', TmpfsOptions: { Options: [[]] } }, 'invalid option array length')
  config({ Type: 'cluster' }, 'mount type unknown')
  const conflict = (request: object, words: string) =>
    refused({ Target: '/b', ...bind, ...request }, `mount options conflict: ${words}`)
  conflict({ BindOptions: { ReadOnlyNonRecursive: true } }, '!ReadOnly && BindOptions.ReadOnlyNonRecursive')
  conflict(
    { BindOptions: { ReadOnlyForceRecursive: true } },
    '!ReadOnly && BindOptions.ReadOnlyForceRecursive',
  )
  conflict(
    { ReadOnly: true, BindOptions: { ReadOnlyNonRecursive: true, ReadOnlyForceRecursive: true } },
    'ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive',
  )
})

test('what holds the data root, or lies in it, is bound as a slave', () => {
  for (const source of ['/', '/var', '/var/lib/berth', '/var/lib/berth/volumes/x']) {
    const [mount] = decide({ Binds: [`${source}:/b`] })
    assert.deepEqual([mount?.propagation, mount?.propagationIsDefault], ['rslave', true], source)
    const [asked] = decide({ Binds: [`${source}:/b:rshared`] })
    assert.deepEqual([asked?.propagation, asked?.propagationIsDefault], ['rshared', undefined], source)
    for (const word of ['private', 'rprivate', 'slave', 'shared'])
      assert.throws(() => decide({ Binds: [`${source}:/b:${word}`] }), {
        status: 400,
        message: `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: "/var/lib/berth", bind mount source: "${source}", propagation: "${word}"`,
      })
  }
  for (const source of ['/var/lib/berth2', '/v', '/etc'])
    assert.equal(decide({ Binds: [`${source}:/b`] })[0]?.propagation, 'rprivate', source)
})

test('of a tmpfs’s options the last of those that contradict each other counts', () => {
  const options = (hostConfig: HostConfig) => {
    const record = { hostConfig, mounts: decide(hostConfig) } as unknown as ContainerRecord
    const mounts = specMounts(record, { files: {}, cgroupWritable: false, plainFiles: new Set() })
    return mounts.find(({ destination }) => destination === '/t')?.options?.join(',')
  }
  const tmpfs = (text: string) => options({ Tmpfs: { '/t': text } })
  assert.equal(tmpfs(''), 'noexec,nosuid,nodev')
  assert.equal(tmpfs('exec'), 'nosuid,nodev,exec')
  assert.equal(tmpfs('exec,noexec,defaults'), 'nosuid,nodev,noexec')
  assert.equal(tmpfs('size=1m,ro,rw,size=2m'), 'noexec,nosuid,nodev,rw,size=2m')
  const mount = (TmpfsOptions: object, ReadOnly = false) =>
    options({ Mounts: [{ Type: 'tmpfs', Target: '/t', ReadOnly, TmpfsOptions }] })
  assert.equal(mount({ SizeBytes: 1024, Mode: 0o1770 }), 'noexec,nosuid,nodev,mode=1770,size=1024')
  assert.equal(mount({ Options: [['exec']] }, true), 'nosuid,nodev,ro,exec')
})
