import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
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
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { readTar } from '../archive/reader.ts'
import { hasCode } from '../core/errors.ts'
import { setXattr } from '../linux/xattrs.ts'
import { digestOf } from '../oci/digest.ts'
import { directory, file, makeTar, openStores, type Stores, type StoresOptions } from './fixture.ts'
import { stackLayer } from './layerRecord.ts'
import { openSnapshotStore } from './snapshots.ts'
import type { Layer, SnapshotStore } from './types.ts'

/** One suite for every way of mounting. */
const ways: [string, StoresOptions][] = [
  ['overlay by fsopen', { snapshotter: 'api' }],
  ['overlay by mount(2)', { snapshotter: 'classic' }],
  ['copy', { snapshotter: 'copy', whiteouts: 'record' }],
]

const base = [
  directory('.', { mode: 0o751 }),
  directory('etc', { mode: 0o750, uid: 3, gid: 4 }),
  file('etc/hosts', 'localhost'),
  file('etc/passwd', 'root', { mode: 0o640, uid: 7, gid: 8 }),
  directory('var', { mtime: 1_000_000_000n }),
  directory('var/cache'),
  file('var/cache/a', 'a'),
  file('var/cache/b', 'b'),
]

const tree = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map(path => {
      const stat = lstatSync(join(root, path))
      const text = stat.isFile()
        ? readFileSync(join(root, path), 'utf8')
        : stat.isSymbolicLink()
          ? readlinkSync(join(root, path))
          : ''
      const time = stat.isDirectory() ? '' : ` ${stat.mtimeMs}`
      return `${path} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${text}${time}`
    })
    .sort()

const seen = async (store: SnapshotStore, layers: readonly Layer[]): Promise<string[]> => {
  await using view = await store.view(layers)
  return tree(view.root)
}

/** A step that writes what `write` does. */
const step = async (
  store: SnapshotStore,
  id: string,
  below: readonly Layer[],
  write: (root: string) => void,
): Promise<Layer> => {
  await using pending = await store.begin(id, below)
  write(pending.root)
  return await pending.commit()
}

const change = (root: string): void => {
  writeFileSync(join(root, 'etc/hosts'), 'changed')
  unlinkSync(join(root, 'etc/passwd'))
  rmSync(join(root, 'var/cache'), { recursive: true })
  mkdirSync(join(root, 'var/cache'))
  writeFileSync(join(root, 'var/cache/c'), 'c')
  mkdirSync(join(root, 'opt/long'.padEnd(120, 'g')), { recursive: true })
  symlinkSync('/etc/hosts', join(root, 'link'))
  writeFileSync(join(root, 'one'), 'linked')
  linkSync(join(root, 'one'), join(root, 'two'))
  utimesSync(join(root, 'one'), 1_700_000_000.25, 1_700_000_000.25)
}

const reopen = (stores: Stores, options: StoresOptions, bootId = 'this boot'): SnapshotStore =>
  openSnapshotStore({ ...stores, snapshotter: options.snapshotter ?? 'api', bootId })

const du = (path: string): number =>
  Number(execFileSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' }).split('\t')[0])

const namesOf = async (archive: AsyncIterable<Uint8Array>): Promise<string[]> => {
  const names: string[] = []
  for await (const { entry } of readTar(archive)) names.push(Buffer.from(entry.name).toString())
  return names
}

for (const [name, options] of ways)
  describe(name, () => {
    test('a step is seen by the next one, and changes nothing below', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      let during: string[] = []
      const first = await step(stores.snapshots, 'first', layers, root => {
        change(root)
        during = tree(root)
      })
      assert.deepEqual(await seen(stores.snapshots, [...layers, first]), during)
      const second = await step(stores.snapshots, 'second', [...layers, first], root => {
        assert.deepEqual(readdirSync(join(root, 'var/cache')), ['c'])
        assert.equal(statSync(root).mode & 0o7777, 0o751)
        rmSync(join(root, 'var'), { recursive: true })
        writeFileSync(join(root, 'var'), 'a file now')
      })
      assert.equal(readFileSync(join(layers[0]?.path ?? '', 'etc/hosts'), 'utf8'), 'localhost')
      const all = await seen(stores.snapshots, [...layers, first, second])
      assert.ok(all.some(line => line.startsWith('var 100')))
      assert.ok(!all.some(line => line.startsWith('var/')))
    })

    test('sealed, it is the layer that its archive unpacks to', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const snapshot = await step(stores.snapshots, 'one', layers, change)
      const before = await seen(stores.snapshots, [...layers, snapshot])
      const parts: Buffer[] = []
      const sealed = await stores.snapshots.seal('one', {
        through: async archive => {
          for await (const chunk of archive) parts.push(chunk)
        },
      })
      const tar = Buffer.concat(parts)
      assert.equal(sealed.diffId, digestOf(tar))
      assert.deepEqual(stores.snapshots.find('one'), sealed)
      assert.deepEqual([...stores.snapshots.sealed()], [sealed.key])
      assert.deepEqual(await stores.layers.find([sealed.diffId]), [sealed])
      assert.deepEqual(await seen(stores.snapshots, [...layers, sealed]), before)
      const { differences } = await stores.layers.compare({
        layer: sealed,
        source: await stores.source(tar),
        below: layers,
      })
      assert.deepEqual(differences, [])
      await stores.layers.remove(sealed.key)
      const [unpacked] = await stores.layers.ensure([await stores.source(tar)])
      assert.ok(unpacked)
      // An archive has whole seconds, as Docker's.
      const inSeconds = before.map(line => line.replace(/ (\d+)\d{3}(\.\d+)?$/, ' $1000'))
      assert.deepEqual(await seen(stores.snapshots, [...layers, unpacked]), inSeconds)
      assert.equal(unpacked.size, sealed.size)
      assert.equal(unpacked.entries, sealed.entries)
    })

    test('the same step gives the same diff id, and the layer that is there wins', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const write = (root: string): void => {
        for (const name of ['b', 'a', 'ä']) {
          writeFileSync(join(root, name), name)
          utimesSync(join(root, name), 1, 1)
        }
      }
      await step(stores.snapshots, 'one', layers, write)
      const second = await step(stores.snapshots, 'two', layers, write)
      const sealed = await stores.snapshots.seal('one')
      await using view = await stores.snapshots.view([...layers, second])
      assert.deepEqual(await stores.snapshots.seal('two'), sealed)
      assert.equal(readFileSync(join(view.root, 'ä'), 'utf8'), 'ä', 'a mount over the other goes on')
      assert.deepEqual(await namesOf(stores.snapshots.archive('two')), ['a', 'b', 'ä'])
    })

    test('who was told where a layer is finds it there when it was sealed meanwhile', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const write = (root: string): void => {
        writeFileSync(join(root, 'one'), 'one')
        rmSync(join(root, 'etc/passwd'))
        for (const path of ['one', 'etc', '']) utimesSync(join(root, path), 1, 1)
      }
      const told = await step(stores.snapshots, 'one', layers, write)
      const same = await step(stores.snapshots, 'same', layers, write)
      const before = await seen(stores.snapshots, [...layers, told])
      const entries = stackLayer(told)
      const sealed = await stores.snapshots.seal('one')
      assert.deepEqual(await stores.snapshots.seal('same'), sealed, 'the one that is there wins')
      const again = reopen(stores, options)
      await again.recover()
      assert.deepEqual(again.find('one'), sealed)
      for (const layer of [told, same, sealed]) {
        assert.equal(readFileSync(join(layer.path, 'one'), 'utf8'), 'one')
        assert.deepEqual(await seen(again, [...layers, layer]), before)
      }
      assert.deepEqual(stackLayer(told), entries)
      for (const id of ['one', 'same']) await again.remove(id)
      await again.idle()
      assert.deepEqual(readdirSync(join(stores.root, 'snapshots')), [])
      assert.ok(existsSync(sealed.path), 'what was sealed stays')
    })

    test('sealing under a mount harms none, and removal waits for the mount', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const snapshot = await step(stores.snapshots, 'one', layers, change)
      const view = await stores.snapshots.view([...layers, snapshot])
      const sealed = await stores.snapshots.seal('one')
      assert.equal(readFileSync(join(view.root, 'one'), 'utf8'), 'linked')
      assert.equal(stores.snapshots.mountedWith(sealed.key).length, 1)
      await stores.snapshots.remove('one')
      assert.deepEqual(await stores.snapshots.list(), [])
      assert.ok(existsSync(sealed.path), 'what was sealed stays')
      const other = await step(stores.snapshots, 'other', layers, change)
      const second = await stores.snapshots.view([...layers, other])
      await stores.snapshots.remove('other')
      await stores.snapshots.idle()
      assert.equal(readFileSync(join(second.root, 'one'), 'utf8'), 'linked')
      await view[Symbol.asyncDispose]()
      await second[Symbol.asyncDispose]()
      await stores.snapshots.idle()
      assert.deepEqual(readdirSync(join(stores.root, 'snapshots')), [])
      assert.deepEqual(stores.snapshots.mountedWith(other.key), [])
    })

    test('what is held stays, and a layer that is mended under a mount does, too', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const made = await step(stores.snapshots, 'one', layers, change)
      const held = stores.snapshots.hold([made])
      await stores.snapshots.remove('one')
      await stores.snapshots.idle()
      assert.equal(stores.snapshots.mountedWith(made.key).length, 1)
      assert.ok(readdirSync(join(stores.root, 'snapshots')).length === 1)
      held[Symbol.dispose]()
      held[Symbol.dispose]()
      await stores.snapshots.idle()
      assert.deepEqual(readdirSync(join(stores.root, 'snapshots')), [])
      const [layer] = layers
      assert.ok(layer)
      const view = await stores.snapshots.view(layers)
      const source = await stores.source(await makeTar(base))
      using remade = await stores.layers.remake({ layer, source, below: [] })
      assert.equal(remade.replace(stores.snapshots.mountedWith(layer.key)), true)
      await stores.layers.idle()
      assert.equal(readFileSync(join(view.root, 'etc/hosts'), 'utf8'), 'localhost')
      assert.equal(stores.layers.replaced().length, 1)
      await view[Symbol.asyncDispose]()
      assert.deepEqual(stores.layers.replaced(), [])
    })

    test('usage is what du tells, before and after sealing', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await step(stores.snapshots, 'one', layers, root => {
        change(root)
        writeFileSync(join(root, 'large'), Buffer.alloc(100_000, 1))
      })
      await stores.snapshots.idle()
      const usage = await stores.snapshots.usage('one')
      assert.equal(usage.diskBytes, du(join(stores.root, 'snapshots/one')))
      assert.equal(usage.size, 100_000 + 'changed'.length + 'linked'.length + 1)
      const sealed = await stores.snapshots.seal('one')
      await stores.layers.synced()
      assert.equal(sealed.diskBytes, du(join(sealed.path, '..')))
    })

    test('places for mounts lie between, and are no part of it', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await using pending = await stores.snapshots.begin('one', layers, { init: true })
      assert.ok(existsSync(join(pending.root, 'etc/resolv.conf')))
      writeFileSync(join(pending.root, 'made'), 'x')
      await pending.commit()
      assert.deepEqual(await namesOf(stores.snapshots.archive('one')), ['made'])
    })

    test('without layers it begins with an empty root', async () => {
      await using stores = await openStores(options)
      await using empty = await stores.snapshots.view([])
      assert.deepEqual(readdirSync(empty.root), [])
      const made = await step(stores.snapshots, 'one', [], root => {
        assert.deepEqual(readdirSync(root), [])
        assert.deepEqual([statSync(root).mode & 0o7777, statSync(root).uid], [0o755, 0])
        writeFileSync(join(root, 'x'), 'x')
      })
      assert.deepEqual((await seen(stores.snapshots, [made])).length, 1)
    })

    test('a changed root directory is part of the layer', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      const made = await step(stores.snapshots, 'one', layers, root => chmodSync(root, 0o700))
      const check = async (layer: Layer): Promise<void> => {
        await using view = await stores.snapshots.view([...layers, layer])
        assert.equal(statSync(view.root).mode & 0o7777, 0o700)
      }
      await check(made)
      assert.deepEqual(await namesOf(stores.snapshots.archive('one')), ['.'])
      await check(await stores.snapshots.seal('one'))
    })

    test('what is given up leaves nothing, and its id is free', async () => {
      await using stores = await openStores(options)
      {
        await using pending = await stores.snapshots.begin('one', await stores.stack(base))
        writeFileSync(join(pending.root, 'x'), 'x')
        await assert.rejects(stores.snapshots.begin('one', []), error => hasCode(error, 'conflict'))
      }
      await stores.snapshots.idle()
      assert.deepEqual(readdirSync(join(stores.root, 'snapshots')), [])
      assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
      assert.deepEqual(readdirSync(join(stores.execRoot, 'snapshots')), [])
      await (await stores.snapshots.begin('one', [])).commit()
      await assert.rejects(stores.snapshots.begin('one', []), error => hasCode(error, 'conflict'))
      await assert.rejects(stores.snapshots.seal('none'), error => hasCode(error, 'not-found'))
    })

    test('a store that is opened again knows what was kept, and clears the rest', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await step(stores.snapshots, 'kept', layers, change)
      await step(stores.snapshots, 'sealed', layers, root => writeFileSync(join(root, 'x'), 'x'))
      const sealed = await stores.snapshots.seal('sealed')
      await stores.snapshots.idle()
      const lost = await step(stores.snapshots, 'lost', layers, change)
      const left = await stores.snapshots.begin('left', layers)
      rmSync(join(stores.root, 'snapshots/lost/snapshot.json'))
      const again = reopen(stores, options, 'another boot')
      await again.recover()
      await again.idle()
      assert.deepEqual((await again.list()).sort(), ['kept', 'sealed'])
      assert.deepEqual(again.find('sealed'), sealed)
      assert.equal(existsSync(lost.path) || existsSync(left.root), false)
      assert.deepEqual(readdirSync(join(stores.root, 'snapshots')).sort(), ['kept', 'sealed'])
      assert.deepEqual(readdirSync(join(stores.execRoot, 'snapshots')), [])
      await stores.layers.remove(sealed.key)
      const third = reopen(stores, options)
      await third.recover()
      assert.deepEqual(await third.list(), ['kept'])
    })

    test('what another boot left unsynced is not trusted', async () => {
      await using stores = await openStores(options)
      await step(stores.snapshots, 'one', [], root => writeFileSync(join(root, 'x'), 'x'))
      const same = reopen(stores, options)
      await same.recover()
      assert.deepEqual(await same.list(), ['one'])
      const other = reopen(stores, options, 'another boot')
      await other.recover()
      assert.deepEqual(await other.list(), [])
    })

    test("two that seal at once share the work, and the failure of one is not the other's", async () => {
      await using stores = await openStores(options)
      const large = (root: string): void => writeFileSync(join(root, 'x'), Buffer.alloc(8 << 20))
      await step(stores.snapshots, 'one', [], large)
      const stop = new AbortController()
      const first = stores.snapshots.seal('one', {
        signal: stop.signal,
        through: async archive => {
          for await (const _ of archive) stop.abort()
        },
      })
      const second = stores.snapshots.seal('one')
      const third = stores.snapshots.seal('one')
      await assert.rejects(first, error => hasCode(error, 'cancelled'))
      assert.equal(await second, await third)
      await assert.rejects(
        stores.snapshots.seal('one', {
          through: async archive => {
            for await (const _ of archive) throw new Error('no space')
          },
        }),
        /no space/,
      )
    })

    test('times later than an epoch become it', async () => {
      await using stores = await openStores(options)
      await step(stores.snapshots, 'one', [], root => {
        for (const [name, time] of Object.entries({ old: 5, new: 5000 })) {
          writeFileSync(join(root, name), '')
          utimesSync(join(root, name), time, time)
        }
      })
      const times: Record<string, bigint> = {}
      for await (const { entry } of readTar(stores.snapshots.archive('one', { epoch: 1000 })))
        times[Buffer.from(entry.name).toString()] = entry.mtime / 1_000_000_000n
      assert.deepEqual(times, { new: 1000n, old: 5n })
    })

    test('sockets are no part of a layer', async () => {
      await using stores = await openStores(options)
      const layers = await stores.stack(base)
      await using pending = await stores.snapshots.begin('one', layers)
      unlinkSync(join(pending.root, 'etc/hosts'))
      for (const path of ['etc/hosts', 'etc/other']) {
        const server = createServer().listen(join(pending.root, path))
        await new Promise(resolve => server.on('listening', resolve))
        // A copy that outlives the server's own removal of it.
        linkSync(join(pending.root, path), join(pending.root, `${path}.kept`))
        await new Promise(resolve => server.close(resolve))
      }
      const layer = await pending.commit()
      const all = await seen(stores.snapshots, [...layers, layer])
      assert.deepEqual(
        all.map(line => line.split(' ')[0]).filter(path => path?.startsWith('etc/')),
        ['etc/passwd'],
      )
    })

    test('attributes are kept where archives have them', async () => {
      await using stores = await openStores(options)
      await step(stores.snapshots, 'one', [], root => {
        writeFileSync(join(root, 'x'), 'x')
        setXattr(join(root, 'x'), 'user.colour', Buffer.from('blue'))
      })
      const found: string[] = []
      for await (const { entry } of readTar(stores.snapshots.archive('one')))
        found.push(...[...entry.xattrs].map(([key, value]) => `${key}=${Buffer.from(value)}`))
      assert.deepEqual(found, ['user.colour=blue'])
    })
  })
