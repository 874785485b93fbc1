import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonical } from '../../oci/reference.ts'
import { readCacheExport, readCacheSources } from './options.ts'

const exported = (type: string, attributes: Record<string, string> = {}) =>
  readCacheExport({ type, attributes })
const sources = (...all: [string, Record<string, string>][]) =>
  readCacheSources(all.map(([type, attributes]) => ({ type, attributes })))

test('where a cache goes, and how', () => {
  const { to, mode, isImageManifest, ignoresErrors, options } = exported('registry', {
    ref: 'r.test/cache',
    mode: 'max',
    compression: 'zstd',
    'force-compression': 'true',
    'ignore-error': 'true',
  })
  assert.equal(to.kind === 'registry' && canonical(to.name), 'r.test/cache:latest')
  assert.deepEqual([mode, isImageManifest, ignoresErrors], ['max', true, true])
  assert.deepEqual([options.compression, options.isForced], ['zstd', true])
  assert.equal(exported('registry', { ref: 'x', 'oci-mediatypes': 'false' }).isImageManifest, false)
  assert.equal(exported('inline', { mode: 'max' }).mode, 'min')
})

test('what cannot be is refused, and what is not there yet', () => {
  assert.throws(() => exported('registry'), /missing ref/)
  assert.throws(() => exported('registry', { ref: 'x', mode: 'most' }), /invalid cache mode "most"/)
  assert.throws(
    () => exported('registry', { ref: 'x', 'oci-mediatypes': 'false', 'image-manifest': 'true' }),
    /conflicts/,
  )
  assert.throws(
    () => exported('registry', { ref: 'x', 'ignore-error': 'maybe' }),
    /failed to parse ignore-error/,
  )
  assert.throws(() => exported('local'), /requires dest/)
  assert.throws(() => sources(['local', { src: '/c' }]), /requires explicit digest/)
  assert.throws(() => exported('gha'), /type=gha.*is not implemented/)
  assert.throws(() => sources(['s3', {}]), /--cache-from type=s3.*is not implemented/)
  assert.throws(() => exported('magic'), /unknown cache exporter: "magic"/)
  assert.throws(() => sources(['inline', {}]), /unknown cache importer: "inline"/)
})

test('a cache that is named twice is read once', () => {
  const [first, ...more] = sources(['registry', { ref: 'x' }], ['registry', { ref: 'x' }])
  assert.deepEqual([first?.told, more], ['x', []])
})
