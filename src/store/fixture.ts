import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WorkerPool } from '../archive/pool.ts'
import type { TarEntry } from '../archive/types.ts'
import { type OutgoingMember, tarEntry, writeTar } from '../archive/writer.ts'
import { isMountRoot, MNT_DETACH, readMounts, unmount } from '../linux/mount.ts'
import type { OverlayPath } from '../linux/overlay.ts'
import { digestOf } from '../oci/digest.ts'
import { openContentStore } from './content.ts'
import { type LayerStoreOptions, openLayerStore } from './layers.ts'
import { openSnapshotStore } from './snapshots.ts'
import type { ContentStore, Layer, LayerSource, LayerStore, SnapshotStore, UpperStore } from './types.ts'
import { Unmounter } from './unmounter.ts'
import { openUpperStore } from './uppers.ts'

/** Stores below a temporary folder, and layers by a few words, for the tests of this area. */

export interface Member extends Partial<Omit<TarEntry, 'name' | 'linkName'>> {
  name: string | Uint8Array
  linkName?: string | Uint8Array
  content?: string | Uint8Array
}

export const file = (
  name: string | Uint8Array,
  content: string | Uint8Array = '',
  more: Partial<Member> = {},
): Member => ({
  name,
  content,
  ...more,
})

export const directory = (name: string, more: Partial<Member> = {}): Member => ({
  name,
  type: 'directory',
  ...more,
})

export const link = (name: string, linkName: string): Member => ({ name, type: 'link', linkName })

export const symlink = (name: string, linkName: string): Member => ({ name, type: 'symlink', linkName })

const outgoing = ({ content, ...known }: Member): OutgoingMember => {
  const bytes = Buffer.from((content ?? '') as string)
  return { entry: tarEntry({ ...known, size: bytes.length }), body: [bytes] }
}

export const makeTar = async (members: readonly Member[]): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(writeTar(members.map(outgoing))))

export interface Stores extends AsyncDisposable {
  root: string
  execRoot: string
  pool: WorkerPool
  unmounter: Unmounter
  content: ContentStore
  layers: LayerStore
  uppers: UpperStore
  snapshots: SnapshotStore
  /** Stores a tar (or its compressed form) and tells how an image would name it. */
  source(tar: Uint8Array, packed?: Uint8Array): Promise<LayerSource>
  /** Unpacks layers, bottom first, each given by its members; each is then what its blob tells. */
  stack(...layers: (readonly Member[])[]): Promise<Layer[]>
}

export interface StoresOptions extends Partial<Pick<LayerStoreOptions, 'limits' | 'whiteouts'>> {
  snapshotter?: OverlayPath | 'copy'
  /** An existing data root. */
  root?: string
}

/** Unmounts whatever is mounted below a folder, the deepest first, and removes it. */
export const removeAll = (base: string): void => {
  const targets = readMounts().map(mount => mount.target)
  for (const target of targets.filter(path => path.startsWith(`${base}/`)).reverse())
    if (isMountRoot(target)) unmount(target, MNT_DETACH)
  rmSync(base, { recursive: true, force: true })
}

export const openStores = async (options: StoresOptions = {}): Promise<Stores> => {
  const base = mkdtempSync('/tmp/berth-store-')
  const root = options.root ?? join(base, 'root')
  const execRoot = join(base, 'run')
  for (const path of [root, execRoot]) mkdirSync(path, { recursive: true })
  const pool = new WorkerPool(2)
  const unmounter = new Unmounter()
  const content = openContentStore(root)
  const layers = openLayerStore({ root, content, pool, bootId: 'this boot', ...options })
  const mounting = {
    root,
    execRoot,
    pool,
    unmounter,
    snapshotter: options.snapshotter ?? 'api',
    namespaceHelper: [fileURLToPath(new URL('../../build/berth-monitor', import.meta.url)), 'userns'],
  } as const
  const uppers = openUpperStore(mounting)
  const snapshots = openSnapshotStore({ ...mounting, layers, bootId: 'this boot' })
  for (const store of [content, layers, uppers, snapshots]) await store.recover()
  layers.recoverReplaced(key => uppers.mountedWith(key))
  const source: Stores['source'] = async (tar, packed) => ({
    blob: (await content.put(packed ?? tar)).digest,
    diffId: digestOf(tar),
  })
  return {
    root,
    execRoot,
    pool,
    unmounter,
    content,
    layers,
    uppers,
    snapshots,
    source,
    stack: async (...wanted) => {
      const sources = await Promise.all(wanted.map(async members => source(await makeTar(members))))
      const stack = await layers.ensure(sources)
      for (const [index, layer] of stack.entries()) {
        const { differences } = await layers.compare({
          layer,
          source: sources[index] as LayerSource,
          below: stack.slice(0, index),
        })
        assert.deepEqual(differences, [], 'what was just unpacked is as its blob tells')
      }
      return stack
    },
    [Symbol.asyncDispose]: async () => {
      await layers.idle()
      await uppers.idle()
      await snapshots.idle()
      await pool[Symbol.asyncDispose]()
      unmounter[Symbol.dispose]()
      removeAll(base)
    },
  }
}

/** Nothing of a failed layer stays, and nothing was made outside. */
export const assertClean = async (stores: Stores): Promise<void> => {
  await stores.layers.idle()
  assert.deepEqual(readdirSync(join(stores.root, 'layers')), [])
  assert.deepEqual(readdirSync(join(stores.root, 'trash')), [])
}
