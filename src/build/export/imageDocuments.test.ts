import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manifestBytes } from '../../engine/images/assemble.ts'
import { digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import { checkAnnotations, imageDocuments, indexDocument } from './imageDocuments.ts'
import type { LayerBlob } from './layerBlobs.ts'
import { readImageOptions } from './options.ts'
import type { PlatformResult } from './types.ts'

const resultOf = (architecture: string): PlatformResult => ({
  id: `linux/${architecture}`,
  platform: { os: 'linux', architecture },
  image: { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, history: [] },
  epoch: 1_000_000_000,
  tree: { layers: [] },
  results: async () => [],
})

const layer: LayerBlob = {
  descriptor: { mediaType: mediaTypes.ociLayer, digest: digestOf(Buffer.from('blob')), size: 4 },
  told: { diffId: digestOf(Buffer.from('diff')), created: '2026-01-02T03:04:05Z', description: 'COPY' },
}

test('an image of plain layers has the manifest that all have that are made here', () => {
  const { config, manifest } = imageDocuments(resultOf('amd64'), [layer], readImageOptions({}))
  assert.deepEqual(manifest.bytes, manifestBytes(config.descriptor, [layer.descriptor]))
  const image = JSON.parse(config.bytes.toString())
  assert.deepEqual(image.rootfs.diff_ids, [layer.told.diffId])
  assert.equal(image.created, '2001-09-09T01:46:40Z')
  assert.deepEqual(manifest.descriptor.platform, { os: 'linux', architecture: 'amd64' })
})

test('annotations are where they belong, and make another manifest', () => {
  const options = readImageOptions({
    'annotation.all': '1',
    'annotation-manifest[linux/arm64].own': '2',
    'annotation-manifest-descriptor[linux/arm64].descriptor': '3',
    'annotation-index.index': '4',
    'annotation-index-descriptor.outer': '5',
  })
  const results = ['amd64', 'arm64'].map(resultOf)
  const images = results.map(result => imageDocuments(result, [layer], options))
  const annotationsOf = (bytes: Buffer | undefined) => JSON.parse(String(bytes)).annotations
  assert.deepEqual(annotationsOf(images[0]?.manifest.bytes), { all: '1' })
  assert.deepEqual(annotationsOf(images[1]?.manifest.bytes), { all: '1', own: '2' })
  const index = indexDocument(images, options)
  assert.deepEqual(annotationsOf(index.bytes), { index: '4' })
  assert.deepEqual(index.descriptor.annotations, { outer: '5' })
  const { manifests } = JSON.parse(index.bytes.toString())
  assert.deepEqual(
    manifests.map(({ annotations }: { annotations?: object }) => annotations),
    [undefined, { descriptor: '3' }],
  )
  assert.doesNotThrow(() => checkAnnotations(options, { platforms: results, isMulti: true }))
  assert.throws(() => checkAnnotations(options, { platforms: [resultOf('amd64')], isMulti: true }), /arm64/)
  const { annotations } = readImageOptions({ 'annotation-index.a': 'b' })
  assert.throws(
    () => checkAnnotations({ ...options, annotations }, { platforms: results, isMulti: false }),
    /index annotations not supported/,
  )
})

test('Docker’s media types where OCI’s are not wanted', () => {
  const options = readImageOptions({ 'oci-mediatypes': 'false' })
  const { config, manifest } = imageDocuments(resultOf('amd64'), [], options)
  assert.equal(config.descriptor.mediaType, mediaTypes.dockerConfig)
  assert.equal(manifest.descriptor.mediaType, mediaTypes.dockerManifest)
  assert.equal(indexDocument([], options).descriptor.mediaType, mediaTypes.dockerList)
})
