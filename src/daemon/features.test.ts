import assert from 'node:assert/strict'
import { test } from 'node:test'
import { featuresOf } from './features.ts'

test('features are on unless they are switched off, by file or by flag', () => {
  assert.deepEqual(featuresOf(undefined), { buildkit: true, cdi: true, warnings: [] })
  assert.deepEqual(featuresOf({ buildkit: false, cdi: false }), { buildkit: false, cdi: false, warnings: [] })
  assert.deepEqual(featuresOf({ buildkit: '0', cdi: '' }), { buildkit: false, cdi: true, warnings: [] })
  assert.throws(() => featuresOf({ cdi: 'maybe' }), /invalid value "maybe" of the feature cdi/)
})

test('a feature that means nothing here is warned of where it is asked for', () => {
  assert.deepEqual(featuresOf({ 'containerd-snapshotter': false, other: true }).warnings, [])
  assert.deepEqual(featuresOf({ 'containerd-snapshotter': true }).warnings, [
    'the feature containerd-snapshotter has no effect: images are always in Berth’s own store',
  ])
})
