import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
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
import { openUpperStore } from ${here('./uppers.ts')}
import { digestOf } from ${here('../oci/digest.ts')}
const root = process.argv[1]
const pool = new WorkerPool(2)
const content = openContentStore(root)
const layers = openLayerStore({ root, content, pool, bootId: 'this boot' })
const uppers = openUpperStore({ root, execRoot: root + '/run', pool, unmounter: new Unmounter(), snapshotter: 'api' })
for (const store of [content, layers, uppers]) await store.recover()
const sources = []
for (const hex of process.argv.slice(2)) {
  const tar = Buffer.from(hex, 'hex')
  sources.push({ blob: (await content.put(tar)).digest, diffId: digestOf(tar) })
}
const stack = await layers.ensure(sources)
await uppers.create('box', stack)
await uppers.mount('box')
await uppers.remove('box')
for (const layer of stack) await layers.remove(layer.key)
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
  'trash.renamed',
  'trash.renamed@2',
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
      await Promise.all([stores.layers.idle(), stores.uppers.idle()])
      for (const layer of await stores.layers.list()) {
        assert.ok(existsSync(join(layer.path, tars[0] && layer.diffId === digestOf(tars[0]) ? 'd/a' : 'b')))
        assert.equal(layer.key, layer.diffId)
      }
      assert.deepEqual(readdirSync(join(root, 'trash')), [])
      assert.equal(readdirSync(join(root, 'layers')).length, (await stores.layers.list()).length)
      assert.deepEqual(readdirSync(join(root, 'uppers')), await stores.uppers.list())
      const again = run(root, tars, '')
      assert.equal(again.stdout, 'finished\n', again.stderr)
    } finally {
      removeAll(base)
    }
  })
