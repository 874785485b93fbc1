import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import { parseReference } from '../../oci/reference.ts'
import type { Database } from '../../store/database.ts'
import type { LayerStore } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { Images } from './images.ts'
import { removeImage } from './remove.ts'

const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers' as const, diff_ids: [] } }
const [parent, child] = [digestOf('parent'), digestOf('child')]

const add = async (images: Images, id: Digest, more: { parent?: string; name?: string }): Promise<void> => {
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(`manifest of ${id}`), size: 1 }
  const target = { descriptor, manifest: descriptor, blobs: [], layers: [] }
  const names = more.name ? [parseReference(more.name)] : []
  await images.add({ id, config, ...(more.parent ? { parent: more.parent } : {}) }, target, names)
}

test('an image goes though its parent is needed by an operation, and stays', async () => {
  const layers = { list: async () => [], present: () => [] } as unknown as LayerStore
  const database = { load: async () => [], write: async () => {} } as unknown as Database
  const images = await Images.open(database, layers)
  await add(images, parent, {})
  await add(images, child, { parent, name: 'child:1' })
  const engine = {
    images,
    layers,
    containers: { all: () => [] },
    keepers: [],
    events: { publish: () => {} },
    lastUse: { forget: () => {} },
  } as unknown as Engine
  const operation = { commit: () => {}, at: () => {} } as unknown as Operation
  using _lease = images.lease(parent)
  const removed = await removeImage(engine, 'child:1', { force: false, noprune: false, operation })
  assert.deepEqual(removed, [{ Untagged: 'child:1' }, { Deleted: child }])
  assert.deepEqual(
    images.all().map(({ id }) => id),
    [parent],
  )
})
