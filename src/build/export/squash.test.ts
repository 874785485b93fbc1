import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import type { HistoryEntry, ImageConfig } from '../../oci/image.ts'
import { squashedConfig } from './squash.ts'

const image = (history: HistoryEntry[]): ImageConfig => ({
  ...{ architecture: 'amd64', os: 'linux', config: { Cmd: ['sh'] }, history },
  rootfs: { type: 'layers', diff_ids: [] },
})

const [id, lower, one] = ['image', 'lower', 'one'].map(digestOf)
assert.ok(id && lower && one)
const created = '2026-01-02T03:04:05Z'
const own = [{ created_by: 'RUN a' }, { created_by: 'ENV b=c', empty_layer: true }, { created_by: 'RUN d' }]

test('what the build did tells of no layer any more, and the merge of one', () => {
  const base = image([{ created_by: 'base' }])
  const config = image([{ created_by: 'base' }, ...own])
  const squashed = squashedConfig({ id, config }, { base, baseId: 'b', layers: [lower, one], created })
  assert.deepEqual(squashed.rootfs.diff_ids, [lower, one])
  assert.deepEqual(squashed.history, [
    { created_by: 'base' },
    ...own.map(entry => ({ ...entry, empty_layer: true })),
    { created, comment: `merge ${id} to b` },
  ])
  assert.equal(squashed.created, created)
  assert.deepEqual(squashed.config, { Cmd: ['sh'] })
})

test('without a base image it is made anew', () => {
  const layers = { base: undefined, baseId: '', layers: [one], created }
  const { history } = squashedConfig({ id, config: image(own) }, layers)
  assert.deepEqual(history?.at(-1), { created, comment: `create new from ${id}` })
  assert.equal(history?.filter(entry => !entry.empty_layer).length, 1)
})
