import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { readTar } from '../archive/reader.ts'
import { hasCode } from '../core/errors.ts'
import { readMounts } from '../linux/mount.ts'
import {
  directory,
  file,
  link,
  makeTar,
  openStores,
  type Stores,
  type StoresOptions,
  symlink,
} from './fixture.ts'
import { openUpperStore } from './uppers.ts'

/** One suite for every way of UpperStore. */
const ways: [string, StoresOptions][] = [
  ['overlay by fsopen', { snapshotter: 'api' }],
  ['overlay by mount(2)', { snapshotter: 'classic' }],
  ['copy', { snapshotter: 'copy', whiteouts: 'record' }],
  ['copy of layers with overlay whiteouts', { snapshotter: 'copy' }],
]

const base = [
  directory('.', { mode: 0o751 }),
  directory('etc'),
  file('etc/hosts', 'localhost'),
  file('etc/passwd', 'root', { mode: 0o640, uid: 7, gid: 8 }),
  directory('var', { mtime: 1_000_000_000n }),
  directory('var/cache'),
  file('var/cache/a', 'a'),
  file('var/cache/b', 'b'),
  directory('tmp', { mode: 0o1777 }),
  file('bin', 'program', { mode: 0o4755 }),
  link('bin2', 'bin'),
  symlink('link', '/etc/hosts'),
]

const reopen = (stores: Stores, options: StoresOptions) =>
  openUpperStore({ ...stores, snapshotter: options.snapshotter ?? 'api' })

for (const [name, options] of ways)
  describe(name, () => {
    test('shows the merged layers, upper ones first', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base, [
        directory('etc'),
        file('etc/.wh.passwd'),
        file('etc/motd', 'hello'),
        directory('var'),
        directory('var/cache'),
        file('var/cache/.wh..wh..opq'),
        file('var/cache/c', 'c'),
      ])
      await stores.uppers.create('one', layers)
      const root = await stores.uppers.mount('one')
      assert.deepEqual(readdirSync(join(root, 'etc')).sort(), ['hosts', 'motd'])
      assert.deepEqual(readdirSync(join(root, 'var/cache')), ['c'])
      assert.equal(statSync(root).mode & 0o7777, 0o751)
      assert.equal(statSync(join(root, 'bin')).mode & 0o7777, 0o4755)
      assert.equal(statSync(join(root, 'bin')).ino, statSync(join(root, 'bin2')).ino)
      assert.equal(readlinkSync(join(root, 'link')), '/etc/hosts')
      assert.equal(statSync(join(root, 'tmp')).mode & 0o7777, 0o1777)
      await stores.uppers.unmount('one')
    })

    test('an init layer has places for mounts, which are no change, and leaves folders as they were', async () => {
      await using stores = await openStores(options)
      const image = [
        directory('etc', { mode: 0o750, uid: 3, gid: 4 }),
        file('etc/passwd', 'root'),
        symlink('etc/resolv.conf', '../run/resolv.conf'),
        directory('run'),
      ]
      await stores.uppers.create('one', await stores.stack(image), { init: true })
      const root = await stores.uppers.mount('one')
      assert.deepEqual(readdirSync(root).sort(), ['.dockerenv', 'dev', 'etc', 'proc', 'run', 'sys'])
      assert.deepEqual(readdirSync(join(root, 'dev')).sort(), ['console', 'pts', 'shm'])
      assert.deepEqual(readdirSync(join(root, 'etc')).sort(), [
        'hostname',
        'hosts',
        'mtab',
        'passwd',
        'resolv.conf',
      ])
      assert.equal(readlinkSync(join(root, 'etc/mtab')), '/proc/mounts')
      assert.equal(lstatSync(join(root, 'etc/resolv.conf')).isFile(), true)
      const { mode, uid, gid } = statSync(join(root, 'etc'))
      assert.deepEqual([mode & 0o7777, uid, gid], [0o750, 3, 4])
      assert.deepEqual(await stores.uppers.changes('one'), [])
      writeFileSync(join(root, 'etc/new'), 'x')
      assert.deepEqual(await stores.uppers.changes('one'), [
        { Path: '/etc', Kind: 0 },
        { Path: '/etc/new', Kind: 1 },
      ])
      const names: string[] = []
      for await (const member of readTar(stores.uppers.diffTar('one')))
        names.push(Buffer.from(member.entry.name).toString())
      assert.deepEqual(names, ['etc', 'etc/new'])
      await stores.uppers.unmount('one')
    })

    test('an init layer that was lost is made again, and one without is mounted as it was', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack([file('a', 'a')])
      await stores.uppers.create('with', layers, { init: true })
      await stores.uppers.create('without', layers)
      rmSync(join(stores.root, 'init'), { recursive: true })
      mkdirSync(join(stores.root, 'init/.new-half'), { recursive: true })
      const again = reopen(stores, options)
      await again.recover()
      assert.deepEqual(readdirSync(join(stores.root, 'init')), [])
      assert.ok(existsSync(join(await again.mount('with'), 'etc/hosts')))
      assert.deepEqual(readdirSync(await again.mount('without')), ['a'])
      for (const id of ['with', 'without']) await again.unmount(id)
    })

    test('keeps what was written over unmount and mount', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      writeFileSync(join(root, 'new'), 'kept')
      assert.equal(await stores.uppers.mount('one'), root, 'a second mount takes over the first')
      assert.equal(stores.uppers.mounted('one'), root)
      await stores.uppers.unmount('one')
      assert.equal(stores.uppers.mounted('one'), undefined)
      assert.equal(existsSync(root), false)
      await stores.uppers.unmount('one')
      await stores.uppers.mount('one')
      assert.equal(readFileSync(join(root, 'new'), 'utf8'), 'kept')
    })

    test('two containers over the same layers do not see each other', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      for (const id of ['one', 'two']) await stores.uppers.create(id, layers)
      const [one, two] = [await stores.uppers.mount('one'), await stores.uppers.mount('two')]
      writeFileSync(join(one, 'etc/hosts'), 'changed')
      assert.equal(readFileSync(join(two, 'etc/hosts'), 'utf8'), 'localhost')
      assert.equal(readFileSync(join(layers[0]?.path ?? '', 'etc/hosts'), 'utf8'), 'localhost')
    })

    test('tells changes as docker diff does', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      assert.deepEqual(await stores.uppers.changes('one'), [])
      appendFileSync(join(root, 'etc/hosts'), ' more')
      unlinkSync(join(root, 'etc/passwd'))
      mkdirSync(join(root, 'srv/deep'), { recursive: true })
      writeFileSync(join(root, 'srv/deep/new'), 'x')
      writeFileSync(join(root, 'srv.conf'), 'x')
      rmSync(join(root, 'var/cache'), { recursive: true })
      mkdirSync(join(root, 'var/cache'))
      writeFileSync(join(root, 'var/cache/b'), 'again')
      chmodSync(join(root, 'tmp'), 0o700)
      assert.deepEqual(
        (await stores.uppers.changes('one')).map(change => `${'CAD'[change.Kind]} ${change.Path}`),
        [
          'C /etc',
          'C /etc/hosts',
          'D /etc/passwd',
          'A /srv',
          'A /srv.conf',
          'A /srv/deep',
          'A /srv/deep/new',
          'C /tmp',
          'C /var',
          'C /var/cache',
          'D /var/cache/a',
          'C /var/cache/b',
        ],
      )
    })

    test('a file in the place of a directory, and the other way round, are changes', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      rmSync(join(root, 'var'), { recursive: true })
      writeFileSync(join(root, 'var'), 'file')
      unlinkSync(join(root, 'bin'))
      mkdirSync(join(root, 'bin'))
      writeFileSync(join(root, 'bin/sh'), 'x')
      symlinkSync('x', join(root, 'etc/new-link'))
      assert.deepEqual(
        (await stores.uppers.changes('one')).map(change => `${'CAD'[change.Kind]} ${change.Path}`),
        ['C /bin', 'A /bin/sh', 'C /etc', 'A /etc/new-link', 'C /var'],
      )
    })

    test('its diff, unpacked as a layer, gives the same tree', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await stores.uppers.create('one', layers)
      const root = await stores.uppers.mount('one')
      appendFileSync(join(root, 'etc/hosts'), ' more')
      unlinkSync(join(root, 'etc/passwd'))
      rmSync(join(root, 'var/cache'), { recursive: true })
      mkdirSync(join(root, 'var/cache'))
      writeFileSync(join(root, 'var/cache/c'), 'c')
      rmSync(join(root, 'tmp'), { recursive: true })
      symlinkSync('var', join(root, 'temporary'))
      const tar = Buffer.concat(await Array.fromAsync(stores.uppers.diffTar('one')))
      const bottom = await stores.source(await makeTar(base))
      const stack = await stores.layers.ensure([bottom, await stores.source(tar)])
      await stores.uppers.create('two', stack)
      const again = await stores.uppers.mount('two')
      const tree = (at: string): string[] =>
        readdirSync(at, { recursive: true, encoding: 'utf8' })
          .map(path => {
            const stat = lstatSync(join(at, path))
            const text = stat.isFile() ? readFileSync(join(at, path), 'utf8') : ''
            return `${path} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${text}`
          })
          .sort()
      assert.deepEqual(tree(again), tree(root))
      const names: string[] = []
      for await (const { entry } of readTar(Readable.from([tar]))) names.push(String(entry.name))
      assert.ok(
        names.includes('etc/.wh.passwd') && names.includes('var/cache/.wh.a') && names.includes('.wh.tmp'),
      )
    })

    test('usage counts what was written', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      assert.equal((await stores.uppers.usage('one')).size, 0)
      writeFileSync(join(root, 'new'), Buffer.alloc(100_000, 1))
      const usage = await stores.uppers.usage('one')
      assert.equal(usage.size, 100_000)
      assert.ok(usage.diskBytes >= 102_400)
    })

    test('usage counts holes and symbolic links, hard links once, and nothing of what is deleted', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      writeFileSync(join(root, 'new'), Buffer.alloc(100_000, 1))
      linkSync(join(root, 'new'), join(root, 'again'))
      writeFileSync(join(root, 'holes'), '')
      truncateSync(join(root, 'holes'), 1_000_000)
      symlinkSync('somewhere', join(root, 'pointer'))
      writeFileSync(join(root, 'brief'), Buffer.alloc(5000))
      unlinkSync(join(root, 'brief'))
      unlinkSync(join(root, 'etc/passwd'))
      assert.equal((await stores.uppers.usage('one')).size, 1_100_000 + 'somewhere'.length)
    })

    test('a removed one is gone at once, and twice is fine', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', await stores.stack(base))
      const root = await stores.uppers.mount('one')
      await stores.uppers.remove('one')
      await stores.uppers.remove('one')
      assert.equal(existsSync(root), false)
      assert.deepEqual(await stores.uppers.list(), [])
      assert.deepEqual(readdirSync(join(stores.root, 'uppers')), [])
      await stores.uppers.idle()
      assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
      await assert.rejects(stores.uppers.mount('one'), error => hasCode(error, 'not-found'))
    })

    test('recovery keeps what is whole, with its mount, and clears the rest', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await stores.uppers.create('kept', layers)
      const root = await stores.uppers.mount('kept')
      await stores.uppers.create('lost', layers)
      await stores.uppers.mount('lost')
      rmSync(join(stores.root, 'uppers/lost/upper.json'))
      mkdirSync(join(stores.root, 'uppers/.new-1234/diff'), { recursive: true })
      mkdirSync(join(stores.root, 'trash/left/diff'), { recursive: true })
      const again = reopen(stores, options)
      await again.recover()
      await again.idle()
      assert.deepEqual(await again.list(), ['kept'])
      assert.equal(await again.mount('kept'), root)
      assert.equal(again.mounted('lost'), undefined)
      assert.deepEqual(readdirSync(join(stores.root, 'uppers')), ['kept'])
      assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
      assert.equal(readMounts().filter(mount => mount.target === join(stores.execRoot, 'mounts')).length, 1)
    })

    test('an image without layers is an empty root', async () => {
      await using stores = await openStores(options)
      await stores.uppers.create('one', [])
      const root = await stores.uppers.mount('one')
      assert.deepEqual(readdirSync(root), [])
      writeFileSync(join(root, 'x'), '')
      assert.deepEqual(await stores.uppers.changes('one'), [{ Path: '/x', Kind: 1 }])
    })
  })

for (const snapshotter of ['api', 'classic'] as const) {
  test(`128 layers mount (${snapshotter})`, async () => {
    await using stores = await openStores({ snapshotter })
    const layers = await stores.stack(...Array.from({ length: 128 }, (_, n) => [file(`f${n}`, `${n}`)]))
    await stores.uppers.create('one', layers)
    const root = await stores.uppers.mount('one')
    assert.equal(readdirSync(root).length, 128)
    assert.equal(stores.uppers.paths('one').LowerDir.split(':').length, 128)
  })

  test(`a volatile mount can be mounted again (${snapshotter})`, async () => {
    await using stores = await openStores({ snapshotter })
    await stores.uppers.create('one', await stores.stack(base))
    const root = await stores.uppers.mount('one', { volatile: true })
    const options = readMounts().find(mount => mount.target === root)?.superOptions ?? ''
    assert.match(options, /volatile/)
    writeFileSync(join(root, 'x'), 'x')
    await stores.uppers.unmount('one')
    assert.ok(
      existsSync(join(stores.root, 'uppers/one/work/work/incompat/volatile')),
      'the kernel left its mark',
    )
    await stores.uppers.mount('one')
    assert.equal(readFileSync(join(root, 'x'), 'utf8'), 'x')
  })
}

test('a busy mount is detached', async () => {
  await using stores = await openStores()
  await stores.uppers.create('one', await stores.stack(base))
  const root = await stores.uppers.mount('one')
  const before = process.cwd()
  process.chdir(root)
  try {
    await stores.uppers.unmount('one')
  } finally {
    process.chdir(before)
  }
  assert.equal(stores.uppers.mounted('one'), undefined)
})
