import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import type { HistoryEntry, ImageConfig } from '../../oci/image.ts'
import { type ExportedLayer, exportedConfig } from './imageConfig.ts'

const at = (hour: number): string => `2026-01-02T${String(hour).padStart(2, '0')}:00:00Z`

const layer = (name: string, hour?: number): ExportedLayer => ({
  diffId: digestOf(Buffer.from(name)),
  ...(hour === undefined ? {} : { created: at(hour) }),
  description: `made ${name}`,
})

const image = (history: HistoryEntry[], more: Partial<ImageConfig> = {}): ImageConfig => ({
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [] },
  history,
  ...more,
})

const times = ({ history = [] }: ImageConfig): (string | undefined)[] => history.map(entry => entry.created)

const base: HistoryEntry = { created: at(1), created_by: 'base' }
const env: HistoryEntry = { created_by: 'ENV a=b', empty_layer: true }

test('layers give their entries their times, and those without one the time of what is before', () => {
  const config = exportedConfig(
    image([base, env, { created_by: 'RUN 1' }, { ...env, created_by: 'CMD' }, { created_by: 'RUN 2' }]),
    [layer('base'), layer('one', 5), layer('two', 7)],
  )
  assert.deepEqual(times(config), [at(1), at(5), at(5), at(5), at(7)])
  assert.equal(config.created, at(7))
  assert.deepEqual(
    config.rootfs.diff_ids,
    ['base', 'one', 'two'].map(name => layer(name).diffId),
  )
})

test('without a new layer the base image’s last time stands for all', () => {
  const config = exportedConfig(image([base, env]), [layer('base')])
  assert.deepEqual(times(config), [at(1), at(1)])
})

test('more layers than the history tells of get entries, fewer take them away', () => {
  const more = exportedConfig(image([base]), [layer('base'), layer('one', 3)])
  assert.deepEqual(more.history?.[1], {
    created: at(3),
    created_by: 'made one',
    comment: 'buildkit.exporter.image.v0',
  })
  const fewer = exportedConfig(image([base, { created_by: 'RUN' }]), [layer('base')])
  assert.equal(fewer.history?.[1]?.empty_layer, true)
})

test('nothing is later than the epoch but what the base has', () => {
  const config = exportedConfig(
    image([{ ...base, created: at(9) }, env, { created_by: 'RUN' }], { created: at(10) }),
    [layer('base'), layer('one', 8)],
    { epoch: at(2), base: image([{ ...base, created: at(9) }]) },
  )
  assert.deepEqual(times(config), [at(9), at(2), at(2)])
  assert.equal(config.created, at(2))
})
