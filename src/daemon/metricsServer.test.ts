import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseMetricsAddress } from './metricsServer.ts'

test('an address is a host and a port, or a port of all', () => {
  assert.deepEqual(['127.0.0.1:9323', '[::1]:9323', ':1', 'localhost:80', ''].map(parseMetricsAddress), [
    { host: '127.0.0.1', port: 9323 },
    { host: '::1', port: 9323 },
    { host: '::', port: 1 },
    { host: 'localhost', port: 80 },
    undefined,
  ])
  for (const wrong of ['9323', '127.0.0.1', 'a:b', '::1:80', '1.1.1.1:70000'])
    assert.throws(() => parseMetricsAddress(wrong), /want host:port/)
})
