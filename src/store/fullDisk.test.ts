import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { hasCode } from '../core/errors.ts'
import { mount } from '../linux/mount.ts'
import { file, makeTar, openStores, removeAll } from './fixture.ts'

test('a full disk fails the unpacking in words, leaves nothing, and the next one works', async () => {
  const base = mkdtempSync('/tmp/berth-full-')
  const root = join(base, 'root')
  mkdirSync(root)
  mount({ source: 'tmpfs', target: root, type: 'tmpfs', data: 'size=24m' })
  try {
    await using stores = await openStores({ root, limits: { reserve: 0 } })
    const tar = await makeTar(Array.from({ length: 60 }, (_, n) => file(`f${n}`, Buffer.alloc(1 << 20))))
    const source = await stores.source(tar, gzipSync(tar))
    await assert.rejects(stores.layers.ensure([source]), error => hasCode(error, 'no-space'))
    await stores.layers.idle()
    assert.deepEqual(readdirSync(join(root, 'layers')), [])
    const [layer] = await stores.stack([file('small', 'x')])
    assert.deepEqual(readdirSync(layer?.path ?? ''), ['small'])
    await assert.rejects(
      stores.content.write([Buffer.alloc(30 << 20)]),
      error => error instanceof Error && 'code' in error && error.code === 'ENOSPC',
    )
    assert.equal((await Array.fromAsync(stores.content.list())).length, 2)
  } finally {
    removeAll(base)
  }
})
