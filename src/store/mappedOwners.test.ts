import assert from 'node:assert/strict'
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { IdMaps } from '../linux/idMaps.ts'
import { MNT_DETACH, mount, unmount } from '../linux/mount.ts'
import { directory, file, openStores, type StoresOptions } from './fixture.ts'

const owners: IdMaps = {
  uids: [
    { inside: 0, outside: 200_000, count: 10 },
    { inside: 10, outside: 400_000, count: 90 },
  ],
  gids: [{ inside: 0, outside: 300_000, count: 100 }],
}

const ownerOf = (path: string): string => {
  const { uid, gid } = statSync(path)
  return `${uid}:${gid}`
}

const image = [
  directory('.', { mode: 0o751 }),
  directory('etc', { uid: 3, gid: 4 }),
  file('etc/passwd', 'root', { uid: 7, gid: 8 }),
  file('etc/far', 'far', { uid: 17, gid: 0 }),
  file('etc/unknown', 'nobody', { uid: 100, gid: 0 }),
]

const ways: [string, StoresOptions][] = [
  ['overlay by fsopen', { snapshotter: 'api' }],
  ['overlay by mount(2)', { snapshotter: 'classic' }],
  ['copy', { snapshotter: 'copy', whiteouts: 'record' }],
]

for (const [name, options] of ways)
  test(`${name}: owners are mapped in the mount, and on disk they are not`, async () => {
    await using stores = await openStores(options)
    await stores.uppers.checkOwners(owners)
    const layers = await stores.stack(image, [file('etc/motd', 'hello')])
    await stores.uppers.create('one', layers, { init: true })
    const root = await stores.uppers.mount('one', { owners })
    assert.equal(ownerOf(root), '200000:300000')
    assert.equal(ownerOf(join(root, 'etc')), '200003:300004')
    assert.equal(ownerOf(join(root, 'etc/passwd')), '200007:300008')
    assert.equal(ownerOf(join(root, 'etc/far')), '400007:300000')
    assert.equal(ownerOf(join(root, 'etc/unknown')), '65534:300000')
    writeFileSync(join(root, 'etc/passwd'), 'changed')
    writeFileSync(join(root, 'made'), 'x')
    chownSync(join(root, 'made'), 200_001, 300_002)
    rmSync(join(root, 'etc/motd'))
    const { UpperDir: disk } = stores.uppers.paths('one')
    assert.equal(ownerOf(disk), '0:0')
    assert.equal(ownerOf(join(disk, 'etc')), '3:4')
    assert.equal(ownerOf(join(disk, 'etc/passwd')), '7:8')
    assert.equal(ownerOf(join(disk, 'made')), '1:2')
    assert.deepEqual(
      (await stores.uppers.changes('one')).map(({ Path, Kind }) => `${Kind} ${Path}`),
      ['0 /etc', '2 /etc/motd', '0 /etc/passwd', '1 /made'],
    )
    await stores.uppers.unmount('one')
    const plain = await stores.uppers.mount('one')
    assert.equal(ownerOf(join(plain, 'etc/passwd')), '7:8', 'without maps it is seen as on disk')
    await stores.uppers.unmount('one')
    const places = join(stores.execRoot, 'mapped-layers')
    assert.deepEqual(existsSync(places) ? readdirSync(places) : [], [])
  })

for (const [name, options] of ways)
  test(`${name}: a snapshot’s owners are mapped in its mounts, and on disk they are not`, async () => {
    await using stores = await openStores(options)
    const layers = await stores.stack(image)
    await using pending = await stores.snapshots.begin('one', layers, { owners })
    assert.equal(ownerOf(join(pending.root, 'etc/passwd')), '200007:300008')
    writeFileSync(join(pending.root, 'made'), 'x')
    chownSync(join(pending.root, 'made'), 200_001, 300_002)
    const layer = await pending.commit()
    assert.equal(ownerOf(join(layer.path, 'made')), '1:2')
    assert.equal(layer.root, undefined)
    await using view = await stores.snapshots.view([...layers, layer], { owners })
    assert.equal(ownerOf(join(view.root, 'made')), '200001:300002')
    const places = join(stores.execRoot, 'mapped-snapshots')
    assert.deepEqual(existsSync(places) ? readdirSync(places) : [], [])
  })

test('many layers are mapped whatever way they are mounted', async () => {
  for (const snapshotter of ['api', 'classic'] as const) {
    await using stores = await openStores({ snapshotter })
    const members = Array.from({ length: 60 }, (_, index) => [file(`file${index}`, `${index}`, { uid: 5 })])
    await stores.uppers.create('one', await stores.stack(...members))
    const root = await stores.uppers.mount('one', { owners })
    for (const index of [0, 59]) assert.equal(ownerOf(join(root, `file${index}`)), '200005:300000')
    await stores.uppers.unmount('one')
  }
})

test('a file system that cannot have its owners mapped is told of', async () => {
  const base = '/tmp/berth-no-owners'
  mkdirSync(base, { recursive: true })
  mount({ source: 'ram', target: base, type: 'ramfs' })
  try {
    await using stores = await openStores({
      snapshotter: 'copy',
      whiteouts: 'record',
      root: join(base, 'root'),
    })
    await assert.rejects(stores.uppers.checkOwners(owners), {
      code: 'owners-cannot-be-mapped',
      message: /the owners of files below \/tmp\/berth-no-owners\/root cannot be mapped .*Linux 5\.19/,
    })
    assert.deepEqual(readdirSync(join(stores.execRoot, 'mounts')), [])
  } finally {
    unmount(base, MNT_DETACH)
    rmSync(base, { recursive: true })
  }
})

test('what a death left of mapped layers goes at the next start', async () => {
  await using stores = await openStores()
  const group = join(stores.execRoot, 'mapped-layers/left')
  mkdirSync(join(group, '0'), { recursive: true })
  mkdirSync(join(group, '1'))
  mount({ source: 'left', target: join(group, '0'), type: 'tmpfs' })
  await stores.uppers.recover()
  assert.equal(existsSync(group), false)
})
