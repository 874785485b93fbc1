import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BerthError } from '../../core/errors.ts'
import { digestOf } from '../../oci/digest.ts'
import { type PlacedLayer, readCacheForm, readRecords } from './readForm.ts'
import type { CacheForm, RecordForm } from './types.ts'

const digest = (text: string) => digestOf(text)

const layer = (name: string, parent: number) => ({
  blob: digest(`blob ${name}`),
  parent,
  annotations: { mediaType: 'layer', diffID: digest(name), size: 1 },
})

const record = (name: string, more: Partial<RecordForm> = {}): RecordForm => ({
  digest: digest(name),
  berth: {
    keys: [digest(name)],
    chain: digest(name),
    bases: [],
    description: `RUN ${name}`,
    milliseconds: 7,
  },
  ...more,
})

const made = { createdAt: '2026-01-02T03:04:05.678Z' }

test('a result is a stack of layers, each with the record whose result ends there', () => {
  const form: CacheForm = {
    layers: [layer('base', -1), layer('one', 0), layer('two', 1)],
    records: [
      record('one', { layers: [{ layer: 1, ...made }] }),
      record('two', { layers: [{ layer: 2, ...made }], inputs: [[{ link: 0 }]] }),
      record('three'),
    ],
  }
  const { records } = readCacheForm(form, 'x/y:z')
  const [, two, three] = records
  assert.equal(three?.result, undefined)
  const { tree, createdAt, description, duration } = two?.result ?? {}
  assert.deepEqual([createdAt, description, duration], [Date.parse(made.createdAt), 'RUN two', 7])
  assert.deepEqual(
    tree?.layers.map(one => one.kind === 'image' && [one.diffId, one.reference, one.origin?.description]),
    [
      [digest('base'), 'x/y:z', undefined],
      [digest('one'), 'x/y:z', 'RUN one'],
      [digest('two'), 'x/y:z', 'RUN two'],
    ],
  )
})

test('within an image results are told by its layers, in any order', () => {
  const placed = ['base', 'one'].map((name, index): PlacedLayer => {
    const { blob, annotations } = layer(name, index - 1)
    const { diffID: diffId, mediaType, size } = annotations
    return { parent: index - 1, layer: { kind: 'image', blob, diffId, mediaType, size, reference: 'i' } }
  })
  const { records } = readRecords([record('one', { chains: [{ layers: [1], ...made }] })], placed)
  assert.equal(records[0]?.result?.tree.layers.length, 1)
})

test('what another builder wrote is told apart, whatever its layers say', () => {
  const form = {
    layers: [{ blob: digest('x'), parent: -1 }],
    records: [{ digest: digest('r'), layers: [{ layer: 0 }] }],
  }
  assert.deepEqual(readCacheForm(form, 'x'), { records: [], others: 1 })
})

test('what makes no sense is refused', () => {
  const loop = { layers: [layer('a', 1), layer('b', 0)], records: [record('r', { layers: [{ layer: 0 }] })] }
  const nowhere = { layers: [], records: [record('r', { layers: [{ layer: 3 }] })] }
  const noKey = { layers: [], records: [{ digest: 'x', berth: { keys: ['no'], chain: 'no', bases: [] } }] }
  for (const form of [loop, nowhere, noKey, null, [], { records: 'text' }])
    assert.throws(() => readCacheForm(form, 'x'), /^BerthError: the cache is damaged: /)
})

test('anything is a cache, or refused as none', () => {
  const field = fc.oneof(fc.integer({ min: -2, max: 3 }), fc.constantFrom(digest('a'), 'x', null, undefined))
  const layers = fc.array(
    fc.record({
      blob: field,
      parent: field,
      annotations: fc.oneof(field, fc.record({ diffID: field, size: field })),
    }),
  )
  const results = fc.oneof(
    field,
    fc.array(fc.record({ layer: field, layers: fc.array(field), createdAt: field })),
  )
  const own = fc.oneof(
    field,
    fc.record({ keys: fc.array(field), chain: field, bases: fc.array(field), layer: field }),
  )
  const records = fc.array(fc.record({ digest: field, layers: results, chains: results, berth: own }))
  fc.assert(
    fc.property(fc.record({ layers, records }), form => {
      try {
        readCacheForm(form, 'x')
      } catch (error) {
        assert.ok(error instanceof BerthError, String(error))
      }
    }),
  )
})
