import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import type { Engine } from '../engine.ts'
import { noSuchImage } from './imageErrors.ts'
import { Leases } from './leases.ts'
import { saveImages } from './save.ts'
import type { Saved } from './saved.ts'
import type { ImageRecord } from './types.ts'

const imageOf = (name: string): ImageRecord => ({
  id: digestOf(name),
  config: { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } },
  targets: [],
  lastTagged: '',
  parent: '',
})

const savedOf = (image: ImageRecord): Saved => ({
  descriptor: { mediaType: mediaTypes.ociManifest, digest: image.id, size: 1 },
  image,
  images: [image],
  blobs: [],
  names: [],
})

test('a save that finds one of its images gone needs the others no more', async () => {
  const [here, gone] = [imageOf('here'), imageOf('gone')]
  const leases = new Leases()
  const lease = (id: string) => {
    if (id !== here.id) throw noSuchImage(id)
    return leases.take(here.id)
  }
  const engine = { images: { lease } } as unknown as Engine
  await assert.rejects(saveImages(engine, [savedOf(here), savedOf(gone)]).next(), /No such image/)
  leases.retire([here.id])[Symbol.dispose]()
})
