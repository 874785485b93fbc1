import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { paxRecord } from '../archive/pax.ts'
import { encodeHeader, paddingAfter, tarEntry } from '../archive/writer.ts'
import { hasCode } from '../core/errors.ts'
import { getXattr } from '../linux/xattrs.ts'
import { chainId, digestOf } from '../oci/digest.ts'
import {
  assertClean,
  directory,
  file,
  link,
  type Member,
  makeTar,
  openStores,
  type Stores,
  symlink,
} from './fixture.ts'

const isWhiteout = (path: string): boolean => {
  const stat = lstatSync(path)
  return stat.isCharacterDevice() && stat.rdev === 0
}

const opaque = (path: string): string | undefined => getXattr(path, 'trusted.overlay.opaque')?.toString()

const one = async (stores: Stores, members: readonly Member[]): Promise<string> => {
  const [layer] = await stores.stack(members)
  return layer?.path ?? ''
}

const rejects = async (stores: Stores, tar: Uint8Array, code: string, packed?: Uint8Array): Promise<void> => {
  await assert.rejects(stores.layers.ensure([await stores.source(tar, packed)]), error =>
    hasCode(error, code),
  )
  await assertClean(stores)
}

describe('names and links that lead out', () => {
  for (const name of ['../x', 'a/../../x', '/../x', './../x', '..'])
    test(`the name ${name} is refused`, async () => {
      await using stores = await openStores()
      await rejects(stores, await makeTar([file(name, 'x')]), 'archive-breakout')
    })

  test('absolute names and inner dots fold into the root', async () => {
    await using stores = await openStores()
    const path = await one(stores, [file('/abs', '1'), file('a/../b', '2'), file('./c//d/./e', '3')])
    assert.deepEqual(readdirSync(path).sort(), ['abs', 'b', 'c'])
    assert.equal(readFileSync(join(path, 'c/d/e'), 'utf8'), '3')
  })

  test('a symlink to the outside does not carry files there', async () => {
    await using stores = await openStores()
    const outside = join(stores.execRoot, 'outside')
    const path = await one(stores, [
      symlink('up', `../../../../../../../../../..${stores.execRoot}`),
      symlink('abs', stores.execRoot),
      file('up/outside', 'x'),
      file('abs/outside2', 'x'),
      directory('proc'),
      symlink('proc/x', '/proc/self/root'),
    ])
    assert.equal(existsSync(outside), false)
    assert.equal(existsSync(`${outside}2`), false)
    assert.equal(readFileSync(join(path, stores.execRoot, 'outside'), 'utf8'), 'x')
    assert.equal(readlinkSync(join(path, 'abs')), stores.execRoot)
  })

  test('a file through a symlink at its own name replaces the symlink', async () => {
    await using stores = await openStores()
    const path = await one(stores, [symlink('x', '/etc/passwd'), file('x', 'own')])
    assert.equal(readFileSync(join(path, 'x'), 'utf8'), 'own')
    assert.ok(lstatSync(join(path, 'x')).isFile())
  })

  test('a hard link to the outside is refused', async () => {
    await using stores = await openStores()
    await rejects(stores, await makeTar([link('x', '../../etc/passwd')]), 'archive-breakout')
    await rejects(stores, await makeTar([link('x', '/etc/passwd')]), 'bad-request')
    await rejects(stores, await makeTar([symlink('e', '/etc'), link('x', 'e/passwd')]), 'bad-request')
  })

  test('a symlink loop is refused', async () => {
    await using stores = await openStores()
    await rejects(stores, await makeTar([symlink('a', 'b'), symlink('b', 'a'), file('a/x')]), 'bad-request')
  })
})

describe('whiteouts', () => {
  test('become overlay whiteouts and opaque directories, before and after the content', async () => {
    await using stores = await openStores()
    const path = await one(stores, [
      directory('d'),
      file('d/.wh.gone'),
      directory('before'),
      file('before/.wh..wh..opq'),
      file('before/x'),
      directory('after'),
      file('after/x'),
      file('after/.wh..wh..opq'),
    ])
    assert.ok(isWhiteout(join(path, 'd/gone')))
    assert.equal(opaque(join(path, 'd')), undefined)
    for (const name of ['before', 'after']) {
      assert.equal(opaque(join(path, name)), 'y')
      assert.deepEqual(readdirSync(join(path, name)), ['x'])
    }
  })

  test('beside a new name of the same layer: a file drops it, a directory becomes opaque, in either order', async () => {
    await using stores = await openStores()
    const path = await one(stores, [
      file('.wh.f1'),
      file('f1', '1'),
      file('f2', '2'),
      file('.wh.f2'),
      file('.wh.d1'),
      directory('d1'),
      file('d1/x'),
      directory('d2'),
      file('d2/x'),
      file('.wh.d2'),
      file('.wh.d3'),
      file('d3/x'),
      file('.wh.d4'),
      file('d4/.wh.y'),
      symlink('s', 'f1'),
      file('.wh.s'),
    ])
    assert.deepEqual(readdirSync(path).sort(), ['d1', 'd2', 'd3', 'd4', 'f1', 'f2', 's'])
    for (const name of ['d1', 'd2', 'd3', 'd4']) assert.equal(opaque(join(path, name)), 'y')
    assert.ok(isWhiteout(join(path, 'd4/y')))
    assert.equal(readFileSync(join(path, 'f1'), 'utf8'), '1')
  })

  test('a 0:0 device is a whiteout; other devices are made', async () => {
    await using stores = await openStores()
    const path = await one(stores, [
      { name: 'gone', type: 'char' },
      { name: 'null', type: 'char', deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
      { name: 'disk', type: 'block', deviceMajor: 259, deviceMinor: 70_000 },
      { name: 'pipe', type: 'fifo', mode: 0o622 },
    ])
    assert.ok(isWhiteout(join(path, 'gone')))
    assert.equal(lstatSync(join(path, 'null')).rdev, 0x103)
    assert.equal(lstatSync(join(path, 'null')).mode & 0o7777, 0o666)
    assert.ok(lstatSync(join(path, 'disk')).isBlockDevice())
    assert.equal(
      execFileSync('stat', ['-c', '%t:%T', join(path, 'disk')], { encoding: 'utf8' }).trim(),
      '103:11170',
    )
    assert.equal(lstatSync(join(path, 'pipe')).mode & 0o7777, 0o622)
  })

  test('an opaque root hides everything below it', async () => {
    await using stores = await openStores()
    const layers = await stores.stack([file('old')], [file('.wh..wh..opq'), file('new')])
    assert.equal(layers[1]?.opaqueRoot, true)
    await stores.uppers.create('one', layers)
    assert.deepEqual(readdirSync(await stores.uppers.mount('one')), ['new'])
  })

  test("aufs's own entries are passed over", async () => {
    await using stores = await openStores()
    const path = await one(stores, [
      directory('.wh..wh.plnk'),
      file('.wh..wh.plnk/12.34'),
      file('.wh..wh.aufs'),
      file('a'),
    ])
    assert.deepEqual(readdirSync(path), ['a'])
  })
})

describe('sizes, bombs and damage', () => {
  test('a wrong diff id is told and leaves nothing', async () => {
    await using stores = await openStores()
    const source = await stores.source(await makeTar([file('a', 'a')]))
    const wrong = { ...source, diffId: digestOf('other') }
    await assert.rejects(stores.layers.ensure([wrong]), error => hasCode(error, 'digest-mismatch'))
    await assertClean(stores)
  })

  test('an archive cut at any block within an entry is refused', async () => {
    await using stores = await openStores()
    const tar = await makeTar([file('a', Buffer.alloc(2000)), file('n'.repeat(200), 'b')])
    for (const at of [100, 512, 600, 1024, 2511, 2560 + 512, 2560 + 700, 2560 + 1024])
      await rejects(stores, tar.subarray(0, at), 'bad-request')
  })

  test('damaged and cut gzip is refused', async () => {
    await using stores = await openStores()
    const tar = await makeTar([file('a', Buffer.alloc(100_000, 'abc'))])
    const packed = gzipSync(tar)
    await rejects(stores, tar, 'bad-request', packed.subarray(0, packed.length - 20))
    const damaged = Buffer.from(packed)
    damaged[packed.length - 6] = (damaged[packed.length - 6] ?? 0) ^ 255
    await rejects(stores, tar, 'bad-request', damaged)
  })

  test('a file that claims more than the disk has is refused at its header', async () => {
    await using stores = await openStores()
    const header = encodeHeader(tarEntry({ name: 'big', size: 2 ** 43 }))
    await rejects(stores, header, 'no-space')
    await rejects(stores, encodeHeader(tarEntry({ name: 'bigger', size: 2 ** 50 })), 'archive-too-large')
  })

  test('a compression bomb ends at the ratio', async () => {
    await using stores = await openStores({ limits: { ratio: 100, ratioFrom: 1 << 20 } })
    const tar = await makeTar([file('zeros', Buffer.alloc(16 << 20))])
    await rejects(stores, tar, 'archive-too-large', gzipSync(tar))
    await rejects(stores, tar, 'archive-too-large', zstdCompressSync(tar))
  })

  test('more entries than allowed are refused', async () => {
    await using stores = await openStores({ limits: { entries: 10 } })
    await rejects(
      stores,
      await makeTar(Array.from({ length: 11 }, (_, n) => file(`f${n}`))),
      'archive-too-large',
    )
  })

  const sparse = (records: [string, string][], content: Buffer): Buffer => {
    const body = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)))
    const pax = Buffer.from(encodeHeader(tarEntry({ name: 'pax', size: body.length })))
    pax.write('x', 156)
    // The flag is part of the checksum.
    const sum = Number.parseInt(pax.toString('latin1', 148, 154), 8) - '0'.charCodeAt(0) + 'x'.charCodeAt(0)
    pax.write(sum.toString(8).padStart(6, '0'), 148)
    const head = encodeHeader(tarEntry({ name: 'sparse', size: content.length }))
    return Buffer.concat([
      pax,
      body,
      paddingAfter(body.length),
      head,
      content,
      paddingAfter(content.length),
      Buffer.alloc(1024),
    ])
  }

  test('a sparse file of a terabyte takes its real blocks only', async () => {
    await using stores = await openStores()
    const tar = sparse(
      [
        ['GNU.sparse.size', String(2 ** 40)],
        ['GNU.sparse.numblocks', '1'],
        ['GNU.sparse.map', `${2 ** 39},3`],
      ],
      Buffer.from('xyz'),
    )
    const [layer] = await stores.layers.ensure([await stores.source(tar)])
    const path = join(layer?.path ?? '', 'sparse')
    assert.equal(statSync(path).size, 2 ** 40)
    assert.ok(statSync(path).blocks * 512 < 1 << 20)
    assert.ok((layer?.diskBytes ?? 0) < 1 << 20)
  })

  for (const [name, map] of [
    ['overlapping extents', '0,2,1,1'],
    ['an extent past the end', '100,3'],
    ['less than the archive holds', '0,2'],
    ['an odd map', '0,3,5'],
    ['no numbers', 'a,b'],
  ] as const)
    test(`a sparse map with ${name} is refused`, async () => {
      await using stores = await openStores()
      await rejects(
        stores,
        sparse(
          [
            ['GNU.sparse.size', '50'],
            ['GNU.sparse.map', map],
          ],
          Buffer.from('xyz'),
        ),
        'bad-request',
      )
    })

  test('a sparse map that claims a billion extents allocates nothing', async () => {
    await using stores = await openStores()
    const content = Buffer.alloc(512)
    content.write('1000000000\n0\n1\n')
    const records: [string, string][] = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '5'],
    ]
    await rejects(stores, sparse(records, content), 'bad-request')
  })
})

describe('names', () => {
  test('of 255 bytes, and paths past 4096', async () => {
    await using stores = await openStores()
    const long = 'n'.repeat(255)
    const deep = Array.from({ length: 40 }, (_, n) => `${n}-${'d'.repeat(150)}`).join('/')
    assert.ok(deep.length > 4096)
    const path = await one(stores, [
      file(long, 'long'),
      file(`${deep}/leaf`, 'leaf'),
      link('linked', `${deep}/leaf`),
    ])
    assert.equal(readFileSync(join(path, long), 'utf8'), 'long')
    assert.equal(readFileSync(join(path, 'linked'), 'utf8'), 'leaf')
    assert.equal(statSync(join(path, 'linked')).nlink, 2)
  })

  test('of 256 bytes are refused in words', async () => {
    await using stores = await openStores()
    await rejects(stores, await makeTar([file('n'.repeat(256))]), 'bad-request')
  })

  test('that are not UTF-8 come out byte for byte', async () => {
    await using stores = await openStores()
    const name = Buffer.from([0x66, 0xff, 0xfe, 0x20, 0x0a, 0x80])
    const path = await one(stores, [file(name, 'x'), directory('d')])
    const found = readdirSync(path, { encoding: 'buffer' }).map(entry => entry.toString('hex'))
    assert.ok(found.includes(name.toString('hex')))
    await stores.layers.remove((await stores.layers.list())[0]?.key ?? digestOf(''))
    await stores.layers.idle()
    assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
  })

  test('with spaces, quotes and line breaks are plain names', async () => {
    await using stores = await openStores()
    const names = ['a b', '"q"', "it's", 'line\nbreak', 'back\\slash', '-rf', '*', 'ü', '.wh']
    const path = await one(
      stores,
      names.map(name => file(name, name)),
    )
    assert.deepEqual(readdirSync(path).sort(), [...names].sort())
  })
})

describe('metadata', () => {
  test('modes, owners and times are those of the archive, of directories too', async () => {
    await using stores = await openStores()
    const mtime = 1_234_567_890_123_456_789n
    const path = await one(stores, [
      directory('d', { mode: 0o2750, uid: 3, gid: 4, mtime }),
      file('d/f', 'f', { mode: 0o6755, uid: 5, gid: 6, mtime }),
      file('d/plain', '', { mode: 0o666 }),
      symlink('d/s', 'f'),
      directory('d/sub', { mode: 0o777, mtime: 5n }),
      file('d/sub/x'),
    ])
    const d = lstatSync(join(path, 'd'), { bigint: true })
    assert.deepEqual([d.mode & 0o7777n, d.uid, d.gid, d.mtimeNs], [0o2750n, 3n, 4n, mtime])
    const f = lstatSync(join(path, 'd/f'), { bigint: true })
    assert.deepEqual([f.mode & 0o7777n, f.uid, f.gid, f.mtimeNs], [0o6755n, 5n, 6n, mtime])
    const plain = lstatSync(join(path, 'd/plain'))
    assert.deepEqual(
      [plain.mode & 0o7777, plain.gid],
      [0o666, 0],
      'set-group-id of the directory does not leak',
    )
    assert.equal(lstatSync(join(path, 'd/sub'), { bigint: true }).mtimeNs, 5n)
  })

  test('attributes are restored, but never overlayfs own ones', async () => {
    await using stores = await openStores()
    const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')
    const attributes = new Map<string, Uint8Array>([
      ['security.capability', capability],
      ['user.note', Buffer.from('n\0te')],
      ['user.empty', Buffer.alloc(0)],
      ['trusted.overlay.opaque', Buffer.from('y')],
      ['trusted.overlay.redirect', Buffer.from('/etc')],
      ['user.overlay.opaque', Buffer.from('y')],
      ['trusted.fine', Buffer.from('t')],
      ['no.such.namespace', Buffer.from('x')],
    ])
    const path = await one(stores, [
      file('f', 'x', { xattrs: attributes, uid: 9 }),
      directory('d', { xattrs: attributes }),
    ])
    for (const name of ['f', 'd']) {
      const at = join(path, name)
      assert.equal(opaque(at), undefined)
      assert.equal(getXattr(at, 'trusted.overlay.redirect'), undefined)
      assert.equal(getXattr(at, 'user.overlay.opaque'), undefined)
      assert.equal(getXattr(at, 'user.note')?.toString('latin1'), 'n\0te')
      assert.equal(getXattr(at, 'user.empty')?.length, 0)
      assert.equal(getXattr(at, 'trusted.fine')?.toString(), 't')
    }
    assert.deepEqual(getXattr(join(path, 'f'), 'security.capability'), capability)
  })

  test('a directory that no entry told of looks as it does below', async () => {
    await using stores = await openStores()
    const layers = await stores.stack([directory('tmp', { mode: 0o1777, uid: 3 })], [file('tmp/x', 'x')])
    assert.equal(layers[1]?.key, chainId(layers.map(layer => layer.diffId)))
    const tmp = statSync(join(layers[1]?.path ?? '', 'tmp'))
    assert.deepEqual([tmp.mode & 0o7777, tmp.uid], [0o1777, 3])
  })
})

describe('layers that need others', () => {
  test('a hard link to a file of a lower layer is copied in and kept under the chain id', async () => {
    await using stores = await openStores()
    const bottom = [directory('d'), file('d/a', 'lower', { mode: 0o640, uid: 4, mtime: 77n })]
    const top = [directory('e', { mtime: 99n }), link('e/x', 'd/a'), link('e/y', 'd/a'), link('e/z', 'e/x')]
    const layers = await stores.stack(bottom, [file('d/.wh.other')], top)
    const at = layers[2]?.path ?? ''
    assert.equal(readFileSync(join(at, 'e/x'), 'utf8'), 'lower')
    const stat = statSync(join(at, 'e/x'), { bigint: true })
    assert.deepEqual([stat.mode & 0o7777n, stat.uid, stat.mtimeNs, stat.nlink], [0o640n, 4n, 77n, 3n])
    assert.equal(statSync(join(at, 'e'), { bigint: true }).mtimeNs, 99n)
    assert.equal(layers[2]?.key, chainId(layers.map(layer => layer.diffId)))
    assert.deepEqual(
      (await stores.layers.find(layers.map(layer => layer.diffId)))?.map(layer => layer.path),
      layers.map(layer => layer.path),
    )
    const other = await stores.stack([directory('d'), file('d/a', 'another')], top)
    assert.equal(readFileSync(join(other[1]?.path ?? '', 'e/x'), 'utf8'), 'another')
  })

  test('a hard link to what a layer between deleted is refused', async () => {
    await using stores = await openStores()
    await assert.rejects(stores.stack([file('a', '1')], [file('.wh.a')], [link('x', 'a')]), error =>
      hasCode(error, 'bad-request'),
    )
    await assertClean(stores)
  })

  test('a name that comes after its missing link wins', async () => {
    await using stores = await openStores()
    const layers = await stores.stack([file('a', '1')], [link('x', 'a'), file('x', 'own')])
    assert.equal(readFileSync(join(layers[1]?.path ?? '', 'x'), 'utf8'), 'own')
    assert.equal(layers[1]?.key, layers[1]?.diffId)
  })

  test('a layer twice in one image mounts', async () => {
    await using stores = await openStores()
    const twice = [file('a', 'twice'), file('.wh.b')]
    const layers = await stores.stack(
      [file('b'), file('c')],
      twice,
      [file('a', 'between'), file('b', 'b')],
      twice,
    )
    assert.equal(layers.length, 4)
    await stores.uppers.create('one', layers)
    const root = await stores.uppers.mount('one')
    assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'twice')
    assert.deepEqual(readdirSync(root).sort(), ['a', 'c'])
  })
})
