import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isVersionAtLeast } from './versions.ts'

test('versions compare by their numbers, whatever stands behind them', () => {
  const cases: [string, string, boolean][] = [
    ['1.1.14', '1.1.14', true],
    ['1.1.5+ds1', '1.1.14', false],
    ['1.1.15', '1.1.14', true],
    ['1.2.0', '1.1.14', true],
    ['1.2.0-rc.1', '1.1.14', true],
    ['1.10', '1.9.9', true],
    ['0.9.9', '1.0', false],
    ['2', '1.9', true],
    ['5.11.22-generic', '5.12', false],
    ['6.12.0-amd64', '6.12', true],
    ['6.1', '6.1.1', false],
    ['', '0.1', false],
  ]
  for (const [version, wanted, is] of cases) assert.equal(isVersionAtLeast(version, wanted), is, version)
})
