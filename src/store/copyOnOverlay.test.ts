import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mountOverlay, probeOverlay } from '../linux/overlay.ts'
import { directory, file, openStores, removeAll } from './fixture.ts'

/** A data root on overlayfs, as inside a container. */
const overlayRoot = (): { base: string; root: string } & Disposable => {
  const base = mkdtempSync('/tmp/berth-nested-')
  for (const name of ['lower', 'upper', 'work', 'root']) mkdirSync(join(base, name))
  mountOverlay(
    {
      lowers: [join(base, 'lower')],
      upper: join(base, 'upper'),
      work: join(base, 'work'),
      target: join(base, 'root'),
    },
    'api',
  )
  return { base, root: join(base, 'root'), [Symbol.dispose]: () => removeAll(base) }
}

test('overlayfs as the data root is found and said', () => {
  using at = overlayRoot()
  assert.equal(probeOverlay(at.root, '/tmp').path, undefined)
  assert.match(probeOverlay(at.root, '/tmp').reason, /overlayfs/)
  assert.equal(probeOverlay('/tmp', '/tmp').path, 'api')
})

test('the copy snapshotter works on a data root that is an overlay itself', async () => {
  using at = overlayRoot()
  await using stores = await openStores({ root: at.root, snapshotter: 'copy', whiteouts: 'record' })
  const layers = await stores.stack(
    [directory('d'), file('d/a', 'a'), file('d/b', 'b'), file('gone')],
    [file('.wh.gone'), directory('d'), file('d/.wh..wh..opq'), file('d/c', 'c')],
  )
  await stores.uppers.create('one', layers)
  const root = await stores.uppers.mount('one')
  assert.deepEqual(readdirSync(root), ['d'])
  assert.deepEqual(readdirSync(join(root, 'd')), ['c'])
  assert.equal(readFileSync(join(root, 'd/c'), 'utf8'), 'c')
  unlinkSync(join(root, 'd/c'))
  assert.deepEqual(
    (await stores.uppers.changes('one')).map(change => change.Path),
    ['/d', '/d/c'],
  )
  await stores.uppers.remove('one')
  await stores.uppers.idle()
})
