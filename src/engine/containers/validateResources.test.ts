import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Resources } from '../../wire/container.ts'
import { dropUnsupported } from './validateResources.ts'

test('what version 2 of control groups does not have is dropped with a warning', () => {
  const resources: Resources = { Memory: 1, MemorySwappiness: 10, OomKillDisable: true }
  const warnings = dropUnsupported(resources, 2)
  assert.deepEqual(resources, { Memory: 1 })
  assert.match(warnings.join('\n'), /memory swappiness.*discarded\.\n.*OomKillDisable discarded\.$/)
})

test('what nobody asked for is dropped without one, and version 1 keeps all', () => {
  assert.deepEqual(dropUnsupported({ MemorySwappiness: -1, OomKillDisable: false }, 2), [])
  const resources: Resources = { MemorySwappiness: 10, OomKillDisable: true }
  assert.deepEqual(dropUnsupported(resources, 1), [])
  assert.deepEqual(resources, { MemorySwappiness: 10, OomKillDisable: true })
})
