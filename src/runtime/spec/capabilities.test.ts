import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCapabilities, containerCapabilities } from './capabilities.ts'

const host = ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_SETUID']
const given = (add: string[], drop: string[], privileged = false) =>
  containerCapabilities({ add, drop, privileged, host })

test('ALL is all that the host can give, less what is dropped by name', () => {
  assert.deepEqual(given(['ALL'], []), host)
  assert.deepEqual(
    given(['all', 'KILL'], ['kill', 'ALL']),
    host.filter(name => name !== 'CAP_KILL'),
  )
  assert.deepEqual(given(['net_admin'], ['ALL']), ['CAP_NET_ADMIN'])
  assert.deepEqual(given(['NET_ADMIN', 'CAP_NET_ADMIN', 'CHOWN'], ['ALL']), ['CAP_NET_ADMIN', 'CAP_CHOWN'])
})

test('what is added by name stays, even if it is dropped by name', () => {
  assert.ok(given(['KILL'], ['KILL']).includes('CAP_KILL'))
  assert.ok(!given([], ['KILL']).includes('CAP_KILL'))
  assert.deepEqual(given([], ['ALL'], true), host)
})

test('names that are no capability, and those that this host cannot give, are refused', () => {
  const refused = (add: string[], drop: string[], message: string) =>
    assert.throws(() => checkCapabilities({ add, drop, host }), { message })
  refused(['x'], [], 'invalid CapAdd: unknown capability: "CAP_X"')
  refused([], ['cap_x'], 'invalid CapDrop: unknown capability: "CAP_X"')
  refused(
    ['BPF'],
    [],
    'invalid CapAdd: capability not supported by your kernel or not available in the current environment: "CAP_BPF"',
  )
  checkCapabilities({ add: ['all', 'Kill'], drop: ['CAP_CHOWN'], host })
})
