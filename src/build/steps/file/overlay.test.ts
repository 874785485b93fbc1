import assert from 'node:assert/strict'
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { file, makeTar, openStores, type Stores } from '../../../store/fixture.ts'
import { stackLayer } from '../../../store/layerRecord.ts'
import type { Layer } from '../../../store/types.ts'
import type { FileAction } from '../../graph/types.ts'
import { copyOf, treeOf } from '../testing/folders.ts'
import { base, ways } from '../testing/layers.ts'
import { type FileInput, runFile } from './runFile.ts'

/** What is written beside the layers must be what overlayfs would have made of it. */

let count = 0

const step = async (
  stores: Stores,
  actions: FileAction[],
  {
    below,
    inputs = [],
    isMounted = false,
  }: { below: readonly Layer[]; inputs?: FileInput[]; isMounted?: boolean },
): Promise<Layer> =>
  await runFile(
    { kind: 'file', base: undefined, actions },
    {
      pool: stores.pool,
      inputs,
      begin: async options => await stores.snapshots.begin(`step${count++}`, below, isMounted ? {} : options),
      signal: new AbortController().signal,
    },
  )

const seen = async (stores: Stores, layers: readonly Layer[]): Promise<string[]> => {
  await using view = await stores.snapshots.view(layers)
  return treeOf([{ path: view.root }])
}

const name = fc.constantFrom('a', 'b', 'c', 'f', 'g', 'l')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(names => `/${names.join('/')}`)
const action: fc.Arbitrary<FileAction> = fc.oneof(
  fc.record({
    kind: fc.constant('makeDirectory' as const),
    path,
    mode: fc.constantFrom(0o755, 0o700),
    parents: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('makeFile' as const), path, content: name, mode: fc.constant(0o644) }),
  fc.record({
    kind: fc.constant('remove' as const),
    path: fc.oneof(path, fc.constant('/*/f')),
    allowMissing: fc.boolean(),
    wildcards: fc.boolean(),
  }),
  fc
    .record({ source: path, destination: path, contentsOnly: fc.boolean(), replace: fc.boolean() })
    .map(({ source, destination, ...more }) => copyOf(source, destination, more)),
)

for (const [title, options] of ways)
  describe(title, () => {
    test('what is written beside the layers is what a mount of them would hold', async () => {
      await using stores = await openStores(options)
      const below = await stores.stack(base)
      const inputs = [{ layers: below.map(stackLayer) }]
      const outcome = async (actions: FileAction[], isMounted: boolean): Promise<string[]> => {
        try {
          const layer = await step(stores, actions, { below, inputs, isMounted })
          const layers = [...below, layer]
          const lines = await seen(stores, layers)
          assert.deepEqual([...treeOf(layers.map(stackLayer))].sort(), [...lines].sort())
          return lines
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error
          return [`${error}`]
        }
      }
      await fc.assert(
        fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 4 }), async actions => {
          assert.deepEqual(await outcome(actions, false), await outcome(actions, true))
        }),
        { numRuns: 40 },
      )
    })

    test('sealed and unpacked it is the same again', async () => {
      await using stores = await openStores(options)
      const below = await stores.stack(base)
      const remove = (at: string): FileAction => ({
        kind: 'remove',
        path: at,
        allowMissing: false,
        wildcards: false,
      })
      const layer = await step(
        stores,
        [
          remove('/a/b'),
          { kind: 'makeDirectory', path: '/a/b', mode: 0o755, parents: false },
          { kind: 'makeFile', path: '/a/b/new', content: 'new', mode: 0o644 },
          remove('/c'),
          { kind: 'makeFile', path: '/c', content: 'a file now', mode: 0o600 },
          remove('/l'),
        ],
        { below },
      )
      const before = await seen(stores, [...below, layer])
      assert.deepEqual(before, [
        'a 40750 3:4',
        'a/b 40755 0:0',
        'a/b/new 100644 0:0 new',
        'a/g 100644 0:0 g',
        'c 100600 0:0 a file now',
      ])
      const id = (await stores.snapshots.list())[0] ?? ''
      const parts: Buffer[] = []
      const sealed = await stores.snapshots.seal(id, {
        through: async archive => {
          for await (const chunk of archive) parts.push(chunk)
        },
      })
      assert.deepEqual(await seen(stores, [...below, sealed]), before)
      await stores.layers.remove(sealed.key)
      const again = await stores.layers.ensure([await stores.source(Buffer.concat(parts))])
      assert.deepEqual(await seen(stores, [...below, ...again]), before)
    })

    test('an archive goes through the links of the layers', async () => {
      await using stores = await openStores(options)
      const below = await stores.stack(base)
      const folder = join(stores.root, 'context')
      mkdirSync(folder)
      writeFileSync(join(folder, 'x.tar'), await makeTar([file('l/unpacked', 'u'), file('a/g', 'new')]))
      const layer = await step(stores, [copyOf('/x.tar', '/', { unpack: true })], {
        below,
        inputs: [{ layers: [{ path: folder }], isShareable: true }],
      })
      const lines = await seen(stores, [...below, layer])
      assert.ok(lines.includes('a/b/unpacked 100644 0:0 u'))
      assert.ok(lines.includes('a/g 100644 0:0 new'))
      assert.ok(lines.some(text => text.startsWith('l 120777')))
    })

    test('a failed step leaves nothing', async () => {
      await using stores = await openStores(options)
      const below = await stores.stack(base)
      await assert.rejects(step(stores, [copyOf('/nosuch', '/')], { below }), /not found/)
      assert.deepEqual(await stores.snapshots.list(), [])
    })
  })

test('a link to a context’s file is made once in what a container sees', async () => {
  await using stores = await openStores()
  const folder = join(stores.root, 'context')
  mkdirSync(folder)
  writeFileSync(join(folder, 'large'), Buffer.alloc(100_000))
  symlinkSync('large', join(folder, 'again'))
  const inputs = [{ layers: [{ path: folder }], isShareable: true }]
  const { ino } = statSync(join(folder, 'large'))
  const first = await step(stores, [copyOf('/large', '/one')], { below: [], inputs })
  assert.equal(statSync(join(first.path, 'one')).ino, ino)
  const second = await step(stores, [copyOf('/large', '/two')], { below: [first], inputs })
  assert.notEqual(statSync(join(second.path, 'two')).ino, ino)
  const apart = await step(stores, [copyOf('/again', '/three')], { below: [], inputs })
  assert.equal(statSync(join(apart.path, 'three')).ino, ino)
})
