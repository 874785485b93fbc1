import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import { parseReference } from '../../oci/reference.ts'
import type { Database } from '../../store/database.ts'
import type { LayerStore } from '../../store/types.ts'
import { Images } from './images.ts'
import type { ImageTarget } from './types.ts'

const config = {
  os: 'linux',
  architecture: 'amd64',
  rootfs: { type: 'layers' as const, diff_ids: [digestOf('a layer')] },
}
const id = digestOf('a configuration')

const targetOf = (name: string): ImageTarget => {
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(name), size: name.length }
  return { descriptor, manifest: descriptor, blobs: [], layers: [] }
}

/** Images whose writes take a while, as a disk's do; with one image that has a target and a name. */
const openImages = async (): Promise<Images> => {
  const database = {
    load: async () => [],
    write: async () => {
      await turn()
      await turn()
    },
  } as unknown as Database
  const images = await Images.open(database, {} as LayerStore)
  await images.add({ id, config }, targetOf('first'), [parseReference('r.example/app:one')])
  return images
}

const namesOf = (images: Images): string[] => images.namesOf(id).tags
const targetsOf = (images: Images): string[] =>
  images.byId(id)?.targets.map(({ descriptor }) => descriptor.digest) ?? []

test('a name that is given while an image gets a further target takes no target away', async () => {
  const images = await openImages()
  const adding = images.add({ id, config }, targetOf('second'), [parseReference('r.example/app:two')])
  // Its write is under way now.
  await turn()
  await images.tag(images.resolve('r.example/app:one'), parseReference('r.example/app:three'))
  await adding
  assert.deepEqual(targetsOf(images), [digestOf('first'), digestOf('second')])
  assert.deepEqual(namesOf(images), ['r.example/app:one', 'r.example/app:three', 'r.example/app:two'])
})

test('an image that is being forgotten gets no name any more, and does not come back', async () => {
  const images = await openImages()
  const { image } = images.resolve('r.example/app:one')
  const forgetting = images.forget({ names: ['r.example/app:one'], images: [image] })
  await assert.rejects(images.tag({ image }, parseReference('r.example/app:two')), /No such image/)
  await forgetting
  assert.deepEqual([images.all(), images.findTag(parseReference('r.example/app:two'))], [[], undefined])
})

test('an image that gets a name before it is forgotten stays, with all its names', async () => {
  const images = await openImages()
  const { image } = images.resolve('r.example/app:one')
  const adding = images.add({ id, config }, targetOf('second'), [parseReference('r.example/app:two')])
  await assert.rejects(images.forget({ names: ['r.example/app:one'], images: [image] }), {
    status: 409,
    message: /image was given the name r.example\/app:two meanwhile/,
  })
  await adding
  assert.deepEqual(namesOf(images), ['r.example/app:one', 'r.example/app:two'])
})

test('an image is leased or forgotten, never both', async () => {
  const images = await openImages()
  const { image } = images.resolve('r.example/app:one')
  const lease = images.lease(id)
  await assert.rejects(images.forget({ images: [image] }), /used by an operation in progress/)
  lease[Symbol.dispose]()
  const forgetting = images.forget({ images: [image] })
  assert.throws(() => images.lease(id), /No such image/)
  await forgetting
  const added = await images.add({ id, config }, targetOf('first'), [])
  images.lease(added.id)[Symbol.dispose]()
})
