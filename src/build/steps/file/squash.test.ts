import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { directory, file, link, openStores, type Stores, symlink } from '../../../store/fixture.ts'
import type { Layer } from '../../../store/types.ts'
import type { FileAction } from '../../graph/types.ts'
import { treeOf } from '../testing/folders.ts'
import { base, ways } from '../testing/layers.ts'
import { runFile } from './runFile.ts'
import { squashLayers } from './squash.ts'

/** What several layers show over others, one in their place shows, too. */

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
    path: fc.oneof(path, fc.constant('/*/f'), fc.constant('/a')),
    allowMissing: fc.constant(true),
    wildcards: fc.boolean(),
  }),
)

const { signal } = new AbortController()
let count = 0

/** A layer of actions; those that cannot be done are left out. */
const step = async (stores: Stores, actions: FileAction[], below: Layer[]): Promise<Layer | undefined> => {
  try {
    return await runFile(
      { kind: 'file', base: undefined, actions },
      {
        pool: stores.pool,
        inputs: [],
        begin: async options => await stores.snapshots.begin(`step${count++}`, below, options),
        signal,
      },
    )
  } catch {
    return undefined
  }
}

const seen = async (stores: Stores, layers: readonly Layer[]): Promise<string[]> => {
  await using view = await stores.snapshots.view(layers)
  return treeOf([{ path: view.root }])
}

const squash = (stores: Stores, below: Layer[], added: Layer[]): Promise<Layer> =>
  squashLayers({ ...stores, id: `squash${count++}`, below, added, signal })

for (const [title, options] of ways)
  describe(title, () => {
    test('whatever layers do, one shows the same', async () => {
      await using stores = await openStores(options)
      const below = await stores.stack(base)
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(action, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
          async steps => {
            const added: Layer[] = []
            for (const actions of steps) {
              const layer = await step(stores, actions, [...below, ...added])
              if (layer) added.push(layer)
            }
            const one = await squash(stores, below, added)
            assert.deepEqual(await seen(stores, [...below, one]), await seen(stores, [...below, ...added]))
          },
        ),
        { numRuns: 40 },
      )
    })

    test('links stay links, owners and modes what they were, and over nothing it is all', async () => {
      await using stores = await openStores(options)
      const added = await stores.stack(
        [directory('d', { uid: 5, mode: 0o700 }), file('d/one', 'x', { gid: 6 }), link('d/two', 'd/one')],
        [file('d/three', 'y'), symlink('d/link', 'three')],
      )
      const one = await squash(stores, [], added)
      assert.deepEqual(await seen(stores, [one]), [
        ...['d 40700 5:0', 'd/link 120777 0:0 -> three', 'd/one 100644 0:6 x'],
        ...['d/three 100644 0:0 y', 'd/two 100644 0:6 x'],
      ])
      await using view = await stores.snapshots.view([one])
      assert.equal(statSync(`${view.root}/d/one`).ino, statSync(`${view.root}/d/two`).ino)
    })
  })
