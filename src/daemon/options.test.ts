import assert from 'node:assert/strict'
import { test } from 'node:test'
import { optionTable } from './options.ts'
import { optionTexts } from './optionTexts.ts'

test('every option is explained, and nothing else', () => {
  const names = optionTable.map(({ flag, key }) => flag || key)
  assert.deepEqual(Object.keys(optionTexts).toSorted(), names.toSorted())
})
