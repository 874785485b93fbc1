import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BerthError } from '../../core/errors.ts'
import { familiar } from '../../oci/reference.ts'
import { namesTold, readFilesOptions, readImageOptions } from './options.ts'

const refused = (code: string, words: RegExp) => (error: unknown) =>
  error instanceof BerthError && error.code === code && words.test(error.message)

test('an image is compressed with gzip and has OCI’s types unless told otherwise', () => {
  const { names, compression, isOci, isForced, isArchive, rewritesTimes } = readImageOptions({
    name: 'one,example.com/two:3',
  })
  assert.deepEqual(names.map(familiar), ['one:latest', 'example.com/two:3'])
  assert.deepEqual(
    [compression, isOci, isForced, isArchive, rewritesTimes],
    ['gzip', true, false, true, false],
  )
  assert.deepEqual(namesTold(names), { 'image.name': 'docker.io/library/one:latest,example.com/two:3' })
  assert.deepEqual(namesTold([]), {})
  const told = readImageOptions({
    ...{ compression: 'zstd', 'force-compression': '', tar: 'false', 'source-date-epoch': '7' },
    'rewrite-timestamp': '1',
  })
  assert.deepEqual(
    [told.compression, told.isForced, told.isArchive, told.epoch, told.rewritesTimes],
    ['zstd', true, false, 7, true],
  )
})

test('a level is of the compression that it comes with', () => {
  assert.equal(readImageOptions({ 'compression-level': '9' }).level, 9)
  assert.equal(readImageOptions({ compression: 'zstd', 'compression-level': '19' }).level, 19)
  assert.equal(readImageOptions({ compression: 'uncompressed', 'compression-level': '1' }).level, undefined)
})

test('annotations are for manifests, unless they name another place, and a platform', () => {
  const { annotations } = readImageOptions({
    'annotation.a.b': '1',
    'annotation-manifest[linux/arm64].c': '2',
    'annotation-index-descriptor.d': '3',
  })
  assert.deepEqual(annotations, [
    { place: 'manifest', platform: '', key: 'a.b', value: '1' },
    { place: 'manifest', platform: 'linux/arm64', key: 'c', value: '2' },
    { place: 'index-descriptor', platform: '', key: 'd', value: '3' },
  ])
})

test('what cannot be is refused', () => {
  const cases: [Record<string, string>, string, RegExp][] = [
    [{ compression: 'lz' }, 'bad-request', /unsupported compression type lz/],
    [{ compression: 'estargz' }, 'not-implemented', /estargz/],
    [{ 'compression-level': '10' }, 'bad-request', /from 0 to 9/],
    [{ compression: 'zstd', 'compression-level': 'most' }, 'bad-request', /from 0 to 22/],
    [{ compression: 'zstd', 'oci-mediatypes': 'false' }, 'bad-request', /conflicts/],
    [{ 'annotation-index.a': 'b', 'oci-mediatypes': '0' }, 'bad-request', /cannot export annotations/],
    [{ 'annotation-other.a': 'b' }, 'bad-request', /unrecognized annotation type/],
    [{ tar: 'maybe' }, 'bad-request', /non-bool value/],
    [{ 'source-date-epoch': 'now' }, 'bad-request', /SOURCE_DATE_EPOCH/],
  ]
  for (const [attributes, code, words] of cases)
    assert.throws(() => readImageOptions(attributes), refused(code, words))
  assert.throws(
    () => readFilesOptions({ mode: 'move' }),
    refused('bad-request', /invalid local exporter mode/),
  )
})

test('files are split by platforms as many as there are, unless told', () => {
  assert.deepEqual(readFilesOptions({}), { isSplit: undefined, isWhole: false })
  assert.deepEqual(
    readFilesOptions({ 'platform-split': 'false', mode: 'delete', 'source-date-epoch': '5' }),
    {
      ...{ epoch: 5, isSplit: false, isWhole: true },
    },
  )
})
