import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../oci/digest.ts'
import { directory, file, makeTar, openStores, removeAll } from './fixture.ts'

/** A process that stores, mounts and removes is killed at each named point; a new one must find whole things only. */

const here = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href)

const script = `
import { WorkerPool } from ${here('../archive/pool.ts')}
import { openContentStore } from ${here('./content.ts')}
import { openLayerStore } from ${here('./layers.ts')}
import { Unmounter } from ${here('./unmounter.ts')}
import { openSnapshotStore } from ${here('./snapshots.ts')}
import { openUpperStore } from ${here('./uppers.ts')}
import { writeFileSync } from 'node:fs'
import { digestOf } from ${here('../oci/digest.ts')}
const root = process.argv[1]
const pool = new WorkerPool(2)
const content = openContentStore(root)
const layers = openLayerStore({ root, content, pool, bootId: 'this boot' })
const uppers = openUpperStore({ root, execRoot: root + '/run', pool, unmounter: new Unmounter(), snapshotter: 'api' })
const snapshots = openSnapshotStore({
  root, execRoot: root + '/run', layers, pool, unmounter: new Unmounter(), snapshotter: 'api', bootId: 'this boot',
})
for (const store of [content, layers, uppers, snapshots]) await store.recover()
const sources = []
for (const hex of process.argv.slice(2)) {
  const tar = Buffer.from(hex, 'hex')
  sources.push({ blob: (await content.put(tar)).digest, diffId: digestOf(tar) })
}
const stack = await layers.ensure(sources)
await uppers.create('box', stack)
await uppers.mount('box')
await uppers.remove('box')
for (const id of await snapshots.list()) await snapshots.remove(id)
const pending = await snapshots.begin('step', stack)
writeFileSync(pending.root + '/b', 'step')
const made = await pending.commit()
const direct = await snapshots.begin('other', [...stack, made], { isDirect: true })
writeFileSync(direct.root + '/b', 'step')
writeFileSync(direct.root + '/c', 'other')
await direct.commit()
const sealed = await snapshots.seal('step')
await snapshots.remove('step')
await snapshots.idle()
for (const layer of [...stack, sealed]) await layers.remove(layer.key)
await layers.idle()
await uppers.idle()
console.log('finished')
`

const points = [
  'layers.unpacked',
  'layers.before-rename',
  'layers.synced',
  'layers.renamed',
  'layers.renamed@2',
  'uppers.prepared',
  'uppers.before-rename',
  'uppers.created',
  'uppers.before-mount',
  'uppers.mounted',
  'uppers.unmounted',
  'snapshots.prepared',
  'snapshots.mounted',
  'snapshots.unmounted',
  'snapshots.before-rename',
  'snapshots.committed',
  'snapshots.prepared@2',
  'snapshots.before-rename@2',
  'snapshots.synced',
  'snapshots.hashed',
  'snapshots.sealing',
  'layers.before-adopt',
  'store.before-exchange',
  'layers.adopted',
  'snapshots.sealed',
  'trash.renamed',
  'trash.renamed@2',
  'trash.renamed@3',
]

const run = (root: string, tars: Buffer[], failpoints: string) =>
  spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, root, ...tars.map(tar => tar.toString('hex'))],
    { env: { ...process.env, BERTH_FAILPOINTS: failpoints }, encoding: 'utf8' },
  )

for (const point of points)
  test(`killed at ${point}`, async () => {
    const tars = [await makeTar([directory('d'), file('d/a', 'a')]), await makeTar([file('b', 'b')])]
    const base = mkdtempSync('/tmp/berth-crash-')
    const root = join(base, 'root')
    mkdirSync(join(root, 'run'), { recursive: true })
    try {
      const [name, pass] = point.split('@')
      const killed = run(root, tars, `${name}=kill${pass ? `@${pass}` : ''}`)
      assert.equal(killed.signal, 'SIGKILL', killed.stderr)
      await using stores = await openStores({ root })
      await Promise.all([stores.layers.idle(), stores.uppers.idle(), stores.snapshots.idle()])
      for (const layer of await stores.layers.list()) {
        assert.ok(existsSync(join(layer.path, tars[0] && layer.diffId === digestOf(tars[0]) ? 'd/a' : 'b')))
        assert.equal(layer.key, layer.diffId)
      }
      for (const id of await stores.snapshots.list()) {
        assert.equal(readFileSync(join(stores.snapshots.find(id)?.path ?? '', 'b'), 'utf8'), 'step')
        await stores.snapshots.seal(id)
      }
      assert.deepEqual(readdirSync(join(root, 'trash')), [])
      assert.equal(readdirSync(join(root, 'layers')).length, (await stores.layers.list()).length)
      assert.deepEqual(readdirSync(join(root, 'uppers')), await stores.uppers.list())
      assert.deepEqual(readdirSync(join(root, 'snapshots')), await stores.snapshots.list())
      const again = run(root, tars, '')
      assert.equal(again.stdout, 'finished\n', again.stderr)
    } finally {
      removeAll(base)
    }
  })
