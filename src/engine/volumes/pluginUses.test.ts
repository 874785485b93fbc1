import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { PluginUses } from './pluginUses.ts'

test('notes of uses outlive a daemon; what a power cut left of one stops no start', () => {
  const root = mkdtempSync('/tmp/berth-uses-')
  try {
    const one = { driver: 'store', name: 'a/b', id: '1'.repeat(64) }
    const two = { driver: 'store', name: '../c', id: '2'.repeat(64) }
    const uses = new PluginUses(root)
    uses.note(one)
    uses.note(one)
    uses.note(two)
    const folder = path.join(root, 'volume-uses')
    assert.equal(readdirSync(folder).length, 2)
    writeFileSync(path.join(folder, 'cut'), '')
    writeFileSync(path.join(folder, '.passing'), '{}')
    const later = new PluginUses(root)
    assert.deepEqual(
      later.all().sort((a, b) => a.id.localeCompare(b.id)),
      [one, two],
    )
    assert.equal(readdirSync(folder).length, 2)
    later.drop(one)
    assert.deepEqual([later.has(one), later.has(two), new PluginUses(root).all()], [false, true, [two]])
  } finally {
    rmSync(root, { recursive: true })
  }
})
