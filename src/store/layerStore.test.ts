import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { hasCode } from '../core/errors.ts'
import { digestOf } from '../oci/digest.ts'
import { assertClean, directory, file, link, makeTar, openStores, symlink } from './fixture.ts'
import { openLayerStore } from './layers.ts'

describe('the store', () => {
  test('unpacks plain, gzip and zstd blobs alike, with progress', async () => {
    await using stores = await openStores()
    for (const [name, pack] of [
      ['plain', (tar: Buffer) => tar],
      ['gzip', gzipSync],
      ['zstd', zstdCompressSync],
    ] as const) {
      const tar = await makeTar([file(name, Buffer.alloc(3 << 20, name))])
      const source = await stores.source(tar, pack(tar))
      const seen: number[] = []
      const [layer] = await stores.layers.ensure([source], { onProgress: (_, bytes) => seen.push(bytes) })
      assert.deepEqual(readFileSync(join(layer?.path ?? '', name)), Buffer.alloc(3 << 20, name))
      assert.equal(seen.at(-1), (await stores.content.info(source.blob))?.size)
    }
  })

  test('two images that share layers, at the same time, unpack each once', async () => {
    await using stores = await openStores()
    const tars = await Promise.all(['a', 'b', 'c'].map(name => makeTar([file(name, name)])))
    const [a, b, c] = await Promise.all(tars.map(tar => stores.source(tar)))
    assert.ok(a && b && c)
    const [one, two] = await Promise.all([stores.layers.ensure([a, b]), stores.layers.ensure([b, a, c])])
    assert.equal(one[0]?.path, two[1]?.path)
    assert.equal((await stores.layers.list()).length, 3)
    assert.equal(readdirSync(join(stores.root, 'layers')).length, 3)
  })

  test('a failed layer fails the image and keeps none of it', async () => {
    await using stores = await openStores()
    const good = await stores.source(await makeTar([file('a', Buffer.alloc(1 << 20))]))
    const bad = await stores.source(Buffer.alloc(2048, 'x'))
    await assert.rejects(stores.layers.ensure([good, bad]), error => hasCode(error, 'bad-request'))
    await assertClean(stores)
    assert.equal((await stores.layers.ensure([good])).length, 1)
  })

  test('an abort ends the work', async () => {
    await using stores = await openStores()
    const source = await stores.source(await makeTar([file('a', Buffer.alloc(8 << 20))]))
    const stop = new AbortController()
    const work = stores.layers.ensure([source], { signal: stop.signal, onProgress: () => stop.abort() })
    await assert.rejects(work, error => hasCode(error, 'cancelled'))
    await assertClean(stores)
  })

  test('tells sizes as du does', async () => {
    await using stores = await openStores()
    const members = [
      ...Array.from({ length: 500 }, (_, n) => file(`many/${n}`, Buffer.alloc(n * 17, 1))),
      directory('d'),
      file('d/a', 'x'.repeat(5000)),
      link('d/b', 'd/a'),
      file('d/a2', '1'),
      file('d/a2', '22'),
      symlink('s', 't'.repeat(200)),
    ]
    for (const layer of await stores.stack(members, members.slice(500))) {
      const du = execFileSync('du', ['-s', '-B1', join(layer.path, '..')], { encoding: 'utf8' })
      assert.equal(layer.diskBytes, Number.parseInt(du, 10))
    }
  })

  test('finds its layers again, and removes what a crash left', async () => {
    await using stores = await openStores()
    const layers = await stores.stack([file('a')], [file('b')])
    const broken = join(stores.root, 'layers', 'f'.repeat(64))
    execFileSync('mkdir', [
      '-p',
      join(broken, 'diff'),
      join(stores.root, 'layers/.new-1/diff/x'),
      join(stores.root, 'trash/t'),
    ])
    writeFileSync(join(broken, 'layer.json'), '{')
    const again = openLayerStore({ ...stores, bootId: 'this boot' })
    await again.recover()
    again.recoverReplaced(() => [])
    await again.idle()
    assert.deepEqual(await again.find(layers.map(layer => layer.diffId)), layers)
    assert.equal(readdirSync(join(stores.root, 'layers')).length, 2)
    assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
  })

  test('what another boot left that may not be on disk is not trusted, what this one left is', async () => {
    await using stores = await openStores()
    const sources = await Promise.all(
      [file('a'), file('b')].map(async member => stores.source(await makeTar([member]))),
    )
    const layers = await stores.layers.ensure(sources)
    await stores.layers.synced()
    const [first] = layers
    const recordOf = join(first?.path ?? '', '../layer.json')
    const record = JSON.parse(readFileSync(recordOf, 'utf8'))
    assert.equal('unsynced' in record, false)
    writeFileSync(recordOf, JSON.stringify({ ...record, unsynced: 'this boot' }))
    const same = openLayerStore({ ...stores, bootId: 'this boot' })
    await same.recover()
    assert.equal((await same.list()).length, 2)
    await same.idle()
    assert.equal('unsynced' in JSON.parse(readFileSync(recordOf, 'utf8')), false)
    writeFileSync(recordOf, JSON.stringify({ ...record, unsynced: 'this boot' }))
    const later = openLayerStore({ ...stores, bootId: 'the next' })
    await later.recover()
    assert.deepEqual(
      (await later.list()).map(layer => layer.key),
      [layers[1]?.key],
    )
    assert.deepEqual(await later.ensure(sources), layers)
  })

  test('a blob that was just hashed is not hashed again, a compressed one is', async () => {
    await using stores = await openStores()
    const tar = await makeTar([file('a', 'text')])
    const plain = await stores.source(tar)
    const [layer] = await stores.layers.ensure([plain], { verified: () => true })
    assert.equal(layer?.diffId, digestOf(tar))
    const packed = await stores.source(await makeTar([file('b')]), gzipSync(await makeTar([file('b')])))
    // A configuration that gives the compressed blob's digest for the layer's is found out.
    await assert.rejects(
      stores.layers.ensure([{ blob: packed.blob, diffId: packed.blob }], { verified: () => true }),
      error => hasCode(error, 'digest-mismatch'),
    )
  })

  test('a removed layer is gone at once, and can be made again', async () => {
    await using stores = await openStores()
    const source = await stores.source(await makeTar([file('a')]))
    const [layer] = await stores.layers.ensure([source])
    assert.ok(layer)
    await stores.layers.remove(layer.key)
    await stores.layers.remove(layer.key)
    assert.equal(await stores.layers.find([layer.diffId]), undefined)
    assert.equal(existsSync(layer.path), false)
    await stores.layers.ensure([source])
    assert.ok(existsSync(layer.path))
  })

  test('100,000 entries', async () => {
    await using stores = await openStores()
    const [layer] = await stores.stack(Array.from({ length: 100_000 }, (_, n) => file(`d${n % 100}/f${n}`)))
    assert.equal(layer?.entries, 100_100)
    assert.equal(readdirSync(join(layer?.path ?? '', 'd7')).length, 1000)
    rmSync(join(stores.root, 'blobs'), { recursive: true })
  })
})
