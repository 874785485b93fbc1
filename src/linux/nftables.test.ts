import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNftables } from './nftables.ts'

test('a missing library is told with its remedy, not thrown', () => {
  const access = openNftables('libnftables-absent.so.1')
  assert.equal(access.available, false)
  assert.match(access.available ? '' : access.reason, /libnftables-absent.*install libnftables1/)
})
